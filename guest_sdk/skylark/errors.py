"""What the state API raises: each class is a case of the WIT variant `error`, and an `error.code` of the HTTP API."""

from typing import ClassVar


class SkylarkError(Exception):
    """Base of all errors of the SDK."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False


class NotFound(SkylarkError):
    """No node where the proxy looked has the bundle, or its owner has deleted it."""

    code = "not-found"


class Conflict(SkylarkError):
    """The owner's version is not the expected one; nothing was stored."""

    code = "conflict"

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"the stored version is {actual}, expected {expected}")
        self.expected = expected
        self.actual = actual


class TooLarge(SkylarkError):
    """A bundle, body or folder exceeds a limit."""

    code = "too-large"

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"{size_bytes} bytes, the limit is {limit_bytes}")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class InvalidKey(SkylarkError):
    """A state key does not have the form `<chain_id>:<node>:<task_id>`."""

    code = "invalid-key"


class InvalidArgument(SkylarkError):
    """An argument is not valid; the message names it and says what is expected."""

    code = "invalid-argument"


class Forbidden(SkylarkError):
    """The function may not do this: the key is of another chain, and its manifest lacks `chains = "any"`; or the
    function runs on another machine than the proxy that it asks."""

    code = "forbidden"


class Unavailable(SkylarkError):
    """A store or node cannot be reached, or only older copies than what was seen can be had. A retry can help later."""

    code = "unavailable"
    retryable = True


class TimedOut(SkylarkError):
    """A store or node did not answer in time. A write may have happened: read before you repeat it."""

    code = "timed-out"
    retryable = True


class Internal(SkylarkError):
    """The proxy failed in a way that it did not expect."""


BY_CODE: dict[str, type[SkylarkError]] = {
    error.code: error for error in (NotFound, InvalidKey, InvalidArgument, Forbidden, Unavailable, TimedOut, Internal)
}
"""The errors that are made of a message alone; `Conflict` and `TooLarge` carry numbers."""
