"""How slow a client may be: each wait for it has an end, however little it does in the meantime."""

from dataclasses import dataclass

MIN_BYTES_PER_S = 1024
"""A body that is slower than this, in either direction, is given up once its timeout is over."""

LINGER_S = 2.0
"""How long to go on reading what a client sends that has had its last answer: to close at once would make the system
reset the connection, and the client lose that answer (RFC 9112, section 9.6)."""


@dataclass
class Pace:
    """One wait for a client, in seconds of a clock that stands still while the server itself keeps clients waiting.

    Args:
        started_s: When it began.
        timeout_s: How long the client may do nothing. A body may take as long as it goes on, if it averages
            `MIN_BYTES_PER_S` after that time; what is no body is to be over by then.
    """

    started_s: float
    timeout_s: float
    done_bytes: int = 0
    went_on_s: float = 0.0

    def __post_init__(self) -> None:
        self.went_on_s = self.started_s

    def note(self, now_s: float, done_bytes: int) -> None:
        """So many bytes are through by now."""
        if done_bytes != self.done_bytes:
            self.done_bytes, self.went_on_s = done_bytes, now_s

    def is_over(self, now_s: float) -> bool:
        """Whether the client has had its time."""
        slowest_s = self.timeout_s + self.done_bytes / MIN_BYTES_PER_S
        return now_s > min(self.started_s + slowest_s, self.went_on_s + self.timeout_s)
