"""What a guest prints, line by line into the log, with function and chain."""

import logging

_LOG = logging.getLogger("skylark.guest")
_LINE_LIMIT_BYTES = 8192
_LINES_LIMIT = 1000


class GuestOutput:
    """Takes one stream of a sandbox. What a guest prints beyond 1,000 lines an invocation is dropped, with a note."""

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
        """Takes what the guest printed; called by wasmtime."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_LIMIT_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._log(line)

    def flush(self) -> None:
        """Logs a last line that has no end."""
        if self._rest:
            self._log(self._rest)
            self._rest = b""

    def _log(self, line: bytes) -> None:
        self._lines += 1
        if self._lines > _LINES_LIMIT:
            return
        text = line.decode(errors="replace") if self._lines < _LINES_LIMIT else "(further output is not logged)"
        extra = {"function": self._function, "chain_id": self._chain_id, "stream": self._stream}
        _LOG.info("%s %s %s: %s", self._function, self._chain_id, self._stream, text, extra=extra)
