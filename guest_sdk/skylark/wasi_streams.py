"""Bodies over the streams of WASI 0.2, in pieces. Imported only in a component of the world `wasi:http/proxy`.

The calls block, as the function that waits for them does. componentize-py's `poll_loop`, an event loop, takes the same
time on wasmtime, and twice as long to read on jco (10 MB: 105 ms against 46), 16 KiB at a time.
"""

import contextlib
from collections.abc import Iterable

from componentize_py_types import Err
from wit_http.imports import monotonic_clock, poll, streams
from wit_http.imports.poll import Pollable
from wit_http.imports.streams import InputStream, OutputStream
from wit_http.imports.types import IncomingBody, OutgoingBody

from skylark.wire import Buffer, joined

_READ_BYTES = 1 << 20
_WRITE_BYTES = 1 << 20
_STALLED_S = 30.0
"""How long the other end may take nothing. Not every runtime says so when it has gone: jco's stream just stays full."""


class StreamFailed(Exception):
    """A stream ended in an error: the other end went away in the midst of a body."""


class BodyTooLarge(Exception):
    """A body is longer than it may be; what comes after is not read."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"more than {size_bytes} bytes")
        self.size_bytes = size_bytes


def read_body(body: IncomingBody, size: int | None, limit_bytes: int | None = None) -> bytearray:
    """Reads a whole body into one buffer.

    Args:
        size: Its announced length, for which there is room from the start; None: it grows.
        limit_bytes: The most that is read.

    Raises:
        StreamFailed: The body ends early.
        BodyTooLarge: It exceeds the limit.
    """
    data, done = bytearray(size or 0), 0
    with body.stream() as stream:
        while chunk := _read(stream):
            done += len(chunk)
            if limit_bytes is not None and done > limit_bytes:
                raise BodyTooLarge(done)
            data[done - len(chunk) : done] = chunk
    IncomingBody.finish(body).__exit__(None, None, None)
    if size is not None and done != size:
        raise StreamFailed(f"the body has {done} bytes, announced were {size}")
    return data


def write_body(body: OutgoingBody, parts: Iterable[Buffer]) -> None:
    """Writes a whole body, part by part, and finishes it.

    Raises:
        StreamFailed: The other end takes no more.
    """
    try:
        with body.write() as stream:
            for part in joined(parts):
                _write(stream, memoryview(part))
    except StreamFailed:
        _finish_broken(body)
        raise
    except Err as error:
        _finish_broken(body)
        raise StreamFailed(_reason(error)) from None
    try:
        OutgoingBody.finish(body, None)
    except Err as error:
        raise StreamFailed(_reason(error)) from None


def _finish_broken(body: OutgoingBody) -> None:
    """Ends a body that is shorter than announced, which its receiver sees. To drop it instead would end jco."""
    with contextlib.suppress(Err):
        OutgoingBody.finish(body, None)


def _read(stream: InputStream) -> bytes:
    """The next bytes; none at the end."""
    try:
        while not (chunk := stream.blocking_read(_READ_BYTES)):
            pass
    except Err as error:
        if isinstance(error.value, streams.StreamError_Closed):
            return b""
        raise StreamFailed(_reason(error)) from None
    return chunk


def _write(stream: OutputStream, view: memoryview) -> None:
    """Writes as much at a time as the stream permits; where it permits nothing, waits until it does."""
    done = 0
    while done < len(view):
        permitted = stream.check_write()
        if not permitted:
            with stream.subscribe() as writable:
                _wait(writable)
            continue
        chunk = bytes(view[done : done + min(permitted, _WRITE_BYTES)])
        stream.write(chunk)
        done += len(chunk)


def _wait(ready: Pollable) -> None:
    with monotonic_clock.subscribe_duration(int(_STALLED_S * 1e9)) as late:
        if 0 not in poll.poll([ready, late]):
            raise StreamFailed(f"the other end took nothing for {_STALLED_S:g} s")


def _reason(error: "Err[object]") -> str:
    """What a runtime says of a stream that failed."""
    if isinstance(error.value, streams.StreamError_LastOperationFailed):
        with error.value.value as cause:
            return cause.to_debug_string()
    return type(error.value).__name__
