"""The memory of the module as Python sees it: one view, sliced; never copied whole, never read element by element."""

import ctypes
import struct
from typing import Any

from wasmtime import Memory, Store

from wasmedge_host.abi import MAX_VECTORS, Errno, WasiError

Vectors = list[memoryview]


class GuestMemory:
    """The memory that the module exports. A view is made anew only when the memory has grown."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._memory: Memory | None = None
        self._size = -1
        self._view = memoryview(b"")

    def attach(self, memory: Memory) -> None:
        """Gives it the memory, which is there once the module has been instantiated."""
        self._memory = memory

    @property
    def view(self) -> memoryview:
        """All of it, writable. It is good until the guest runs again."""
        assert self._memory is not None
        size = self._memory.data_len(self._store)
        if size != self._size:
            start = ctypes.addressof(self._memory.data_ptr(self._store).contents)
            self._view = memoryview((ctypes.c_ubyte * size).from_address(start)).cast("B")
            self._size = size
        return self._view

    def read(self, form: str, address: int, alignment: int = 1) -> Any:
        """The value at an address, or a tuple of several.

        Raises:
            WasiError: It is not aligned as the type is: ADDRNOTAVAIL, as `isMisaligned`, wasifunc.cpp:375-377.
        """
        _check_alignment(address, alignment)
        values = struct.unpack_from(form, self.view, address)
        return values[0] if len(values) == 1 else values

    def write(self, form: str, address: int, *values: object, alignment: int = 1) -> None:
        """Stores values.

        Raises:
            WasiError: The address is not aligned as the type is.
        """
        _check_alignment(address, alignment)
        struct.pack_into(form, self.view, address, *values)

    def bytes_at(self, address: int, size: int) -> bytes:
        """A copy of some bytes."""
        return bytes(self.view[address : address + size])

    def put(self, address: int, content: bytes) -> None:
        """Stores bytes."""
        self.view[address : address + len(content)] = content

    def vectors(self, address: int, count: int) -> Vectors:
        """The buffers of an array of `__wasi_iovec_t` (address and size, 4 bytes each).

        Raises:
            WasiError: It is not aligned, or there are more than 1,024.
        """
        _check_alignment(address, 4)
        if count > MAX_VECTORS:
            raise WasiError(Errno.INVAL)
        view = self.view
        pairs = struct.iter_unpack("<II", view[address : address + 8 * count])
        return [view[start : start + size] for start, size in pairs]


def _check_alignment(address: int, alignment: int) -> None:
    if address & (alignment - 1):
        raise WasiError(Errno.ADDRNOTAVAIL)
