"""The sandbox's end of the exchange directory: the one folder that the guest sees, where contents cross as files."""

import os
from collections.abc import Iterable

from skylark.wire import Buffer

FOLDER = "/exchange"
"""Where the host preopens the exchange directory."""

INLINE_LIMIT_BYTES = 16384
"""Contents up to this size cross as a string of the WIT call: 0.05 ms at 1 kB and 0.2 ms at 16 kB, a file 0.45 ms."""

_JOIN_LIMIT_BYTES = 65536


def read(name: str, folder: str = FOLDER) -> memoryview:
    """Reads a whole file with one copy into the sandbox."""
    with open(f"{folder}/{name}", "rb", buffering=0) as file:  # noqa: PTH123
        data = bytearray(os.fstat(file.fileno()).st_size)
        view, done = memoryview(data), 0
        while done < len(data):
            count = file.readinto(view[done:])
            if not count:
                raise OSError(f"the exchange file {name} ends at byte {done} of {len(data)}")
            done += count
    return view.toreadonly()


def write(name: str, parts: Iterable[Buffer], folder: str = FOLDER) -> None:
    """Writes parts one after the other; small ones together, so that the number of writes stays small."""
    with open(f"{folder}/{name}", "wb", buffering=0) as file:  # noqa: PTH123
        for chunk in _joined(parts):
            view, done = memoryview(chunk), 0
            while done < len(view):
                done += file.write(view[done:])


def _joined(parts: Iterable[Buffer]) -> Iterable[Buffer]:
    small = bytearray()
    for part in parts:
        if len(small) + len(part) <= _JOIN_LIMIT_BYTES:
            small += part
            continue
        if small:
            yield small
            small = bytearray()
        if len(part) <= _JOIN_LIMIT_BYTES:
            small += part
        else:
            yield part
    if small:
        yield small
