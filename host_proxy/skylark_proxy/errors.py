"""Every error that Skylark raises: one base, one class for each thing that can go wrong.

An error says whether a retry can help (`retryable`), carries its numbers as attributes, and has one `code`,
which is the WIT variant's case and the HTTP answer's `error.code`. `HTTP_STATUS` maps the codes to statuses.
"""

from typing import ClassVar


class SkylarkError(Exception):
    """Base of all errors of Skylark."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    task_id: str | None = None
    """The invocation that it ended, if it did; its report says more."""
    chain_id: str | None = None

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self)


class InvalidArgument(SkylarkError):
    """A value from outside is not what was expected."""

    code = "invalid-argument"

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(f"{field}: {value!r} is not valid; expected {expected}")
        self.field = field
        self.value = value
        self.expected = expected


class InvalidKey(InvalidArgument):
    """A state key does not have the form `<chain_id>:<node>:<task_id>`."""

    code = "invalid-key"


class ConfigError(SkylarkError):
    """A setting is missing or wrong; raised at start only. `message`: a sentence for where the usual one misleads."""

    code = "config"

    def __init__(self, key: str, value: object, expected: str, message: str | None = None) -> None:
        super().__init__(message or f"{key}={value!r} is not valid; expected {expected}")
        self.key = key
        self.value = value
        self.expected = expected


class NoServer(ConfigError):
    """No Redis server on this machine can be used; the message says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__("SKYLARK_REDIS_URL", None, "the URL of a Redis, or a Redis server on this machine", message)


class NotFound(SkylarkError):
    """What was asked for does not exist at any place where it was looked for.

    `deleted_version` is the version of its deletion, if it was deleted.
    """

    code = "not-found"

    def __init__(self, what: str, name: str, looked_at: tuple[str, ...] = (), deleted_version: int = 0) -> None:
        where = f" (looked at: {', '.join(looked_at)})" if looked_at else ""
        super().__init__(f"no {what} {name!r}{where}")
        self.what = what
        self.name = name
        self.looked_at = looked_at
        self.deleted_version = deleted_version


class Conflict(SkylarkError):
    """The stored version is not the one that the writer expected; nothing was written."""

    code = "conflict"

    def __init__(self, key: str, expected: int, actual: int) -> None:
        super().__init__(f"bundle {key!r} has version {actual}, expected {expected}")
        self.key = key
        self.expected = expected
        self.actual = actual


class Superseded(SkylarkError):
    """A bundle has a later version than its writer knew of when it began; nothing was written."""

    code = "superseded"

    def __init__(self, key: str, actual: int) -> None:
        super().__init__(f"bundle {key!r} has version {actual}, of which its writer did not know")
        self.key = key
        self.actual = actual


class Stale(SkylarkError):
    """Only copies that are older than what the reader has seen can be had at the moment."""

    code = "unavailable"
    retryable = True

    def __init__(self, key: str, version: int, seen: int, reason: str) -> None:
        super().__init__(f"bundle {key!r} is here with version {version} only, and {seen} was seen before: {reason}")
        self.key = key
        self.version = version
        self.seen = seen


class TooLarge(SkylarkError):
    """Something exceeds a limit in bytes."""

    code = "too-large"

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"{what} has {size_bytes} bytes, the limit is {limit_bytes}")
        self.what = what
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class UnsupportedMediaType(SkylarkError):
    """A request's body is in a format that is not read here; the message names those that are."""

    code = "unsupported-media-type"

    def __init__(self, message: str, content_type: str, expected: str) -> None:
        super().__init__(message)
        self.content_type = content_type
        self.expected = expected


class StoreUnavailable(SkylarkError):
    """Redis cannot be reached or refuses to serve; nothing was acknowledged. `full`: it has no memory or disk left."""

    code = "unavailable"
    retryable = True
    full = False


class StoreTimeout(StoreUnavailable):
    """Redis did not answer in time; a write may or may not have happened."""

    code = "timed-out"


class StoreBrokenOff(StoreUnavailable):
    """The connection to Redis broke; a write may or may not have happened."""


class OutboxFull(SkylarkError):
    """So many transfers wait for links that no further one is accepted; nothing was stored."""

    code = "outbox-full"
    retryable = True

    def __init__(self, entries: int, limit: int) -> None:
        super().__init__(f"{entries} transfers wait for other nodes, the limit is {limit}")
        self.entries = entries
        self.limit = limit


class PeerUnreachable(SkylarkError):
    """Another node's proxy cannot be reached. `in_doubt`: what was asked of it may have happened, or yet happen."""

    code = "unavailable"
    retryable = True
    in_doubt = False

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"node {node!r} cannot be reached: {reason}")
        self.node = node
        self.reason = reason


class PeerTimeout(PeerUnreachable):
    """Another node's proxy did not answer in time."""

    code = "timed-out"
    in_doubt = True


class UnknownNode(SkylarkError):
    """A node that is not in the topology was named."""

    code = "unknown-node"

    def __init__(self, node: str, known: tuple[str, ...] = ()) -> None:
        hint = f"; known nodes: {', '.join(known[:20])}" if known else ""
        super().__init__(f"unknown node {node!r}{hint}")
        self.node = node


class NoRoute(SkylarkError):
    """No path of live links leads from one node to another."""

    code = "no-route"
    retryable = True

    def __init__(self, source: str, target: str) -> None:
        super().__init__(f"no path of live links from {source!r} to {target!r}")
        self.source = source
        self.target = target


class FunctionFailed(SkylarkError):
    """A function raised, returned nonsense, or was ended by the sandbox."""

    code = "function-failed"

    def __init__(self, function: str, cause: str, detail: str, traceback: str = "") -> None:
        super().__init__(f"function {function!r} failed ({cause}): {detail}")
        self.function = function
        self.cause = cause
        self.detail = detail
        self.traceback = traceback


class FunctionTimeout(FunctionFailed):
    """A function did not end before its deadline."""

    code = "function-timeout"


class Overloaded(SkylarkError):
    """The proxy has no free worker for another invocation."""

    code = "overloaded"
    retryable = True


class Unauthorized(SkylarkError):
    """A request of another node is not signed as it has to be; nothing was done.

    `skew_s` is how far its sender's time is ahead of this node's, where that is what is wrong.
    """

    code = "unauthorized"

    def __init__(self, reason: str, skew_s: float | None = None) -> None:
        super().__init__(f"the request is not accepted: {reason}")
        self.reason = reason
        self.skew_s = skew_s


class Forbidden(SkylarkError):
    """Who asks may not do this; nothing was done."""

    code = "forbidden"

    def __init__(self, what: str, allowed: str) -> None:
        super().__init__(f"{what} is forbidden; allowed: {allowed}")
        self.what = what
        self.allowed = allowed


class TooManyRequests(SkylarkError):
    """The proxy answers so many requests at this moment that it takes no further one."""

    code = "too-many-requests"
    retryable = True

    def __init__(self, in_flight: int, limit: int) -> None:
        super().__init__(f"{in_flight} requests are being answered, the limit is {limit}")
        self.in_flight = in_flight
        self.limit = limit


class TooManyBundles(SkylarkError):
    """A chain has so many bundles at a node that no further one is stored."""

    code = "too-many-bundles"
    retryable = True

    def __init__(self, chain: str, node: str, limit: int) -> None:
        super().__init__(f"chain {chain!r} has {limit} bundles at node {node!r}, and may not have more there")
        self.chain = chain
        self.node = node
        self.limit = limit


HTTP_STATUS: dict[str, int] = {
    "invalid-argument": 400,
    "invalid-key": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not-found": 404,
    "unknown-node": 404,
    "conflict": 409,
    "superseded": 409,
    "too-large": 413,
    "unsupported-media-type": 415,
    "function-failed": 422,
    "too-many-bundles": 429,
    "too-many-requests": 429,
    "outbox-full": 503,
    "overloaded": 503,
    "unavailable": 503,
    "no-route": 503,
    "timed-out": 504,
    "function-timeout": 504,
    "config": 500,
    "internal": 500,
}
"""The HTTP status of each error code. A function's own failure is 422: the request was understood, the code failed."""
