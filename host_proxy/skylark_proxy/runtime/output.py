"""What a guest prints, line by line into the log, with function and chain."""

import logging

_LOG = logging.getLogger("skylark.guest")
_LINE_LIMIT_BYTES = 8192
_LINES_LIMIT = 1000


class GuestOutput:
    """Log one stream of a sandbox: the first 1,000 lines of an invocation, and how many more there were."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._rest = b""
        self._lines = 0
        self._function = self._chain_id = ""

    def start(self, function: str, chain_id: str) -> None:
        """Begins an invocation."""
        self._rest, self._lines = b"", 0
        self._function, self._chain_id = function, chain_id

    def write(self, data: bytes) -> None:
        """Takes what the guest printed."""
        if self._lines >= _LINES_LIMIT:
            self._lines += data.count(b"\n")
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._log_in_pieces(line)
        if len(self._rest) > _LINE_LIMIT_BYTES:
            self._log_in_pieces(self._rest)
            self._rest = b""

    def flush(self) -> None:
        """Log a last line that has no end, and how many lines were left out."""
        if self._rest:
            self._log(self._rest)
            self._rest = b""
        if self._lines > _LINES_LIMIT:
            self._tell(f"({self._lines - _LINES_LIMIT:,} further lines are not logged)")

    def _log_in_pieces(self, line: bytes) -> None:
        """Log a line; one that is too long as several."""
        for start in range(0, max(1, len(line)), _LINE_LIMIT_BYTES):
            self._log(line[start : start + _LINE_LIMIT_BYTES])

    def _log(self, line: bytes) -> None:
        self._lines += 1
        if self._lines <= _LINES_LIMIT:
            self._tell(line.decode(errors="replace"))

    def _tell(self, text: str) -> None:
        extra = {"function": self._function, "chain_id": self._chain_id, "stream": self._stream}
        _LOG.info("%s %s %s: %s", self._function, self._chain_id, self._stream, text, extra=extra)
