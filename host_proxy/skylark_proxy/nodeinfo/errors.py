"""What can go wrong in the node-info service beyond the errors of all."""

from skylark_proxy.errors import SkylarkError


class SourceUnavailable(SkylarkError):
    """Where the topology is read from cannot be reached."""

    code = "unavailable"
    retryable = True

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source} cannot be reached: {reason}")
        self.source = source
        self.reason = reason
