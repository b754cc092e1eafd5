"""An instance of a hosted module: calls of its functions, its memory, and its reset.

The functions are core functions, called as the canonical ABI says; see `abi` and `interface`.
"""

import ctypes
import threading
from collections.abc import Mapping, Sequence
from ctypes import byref
from typing import Any, NamedTuple

from wasmtime import Store, WasiConfig, WasmtimeError
from wasmtime import _ffi as ffi

from skylark_proxy.runtime import capi
from skylark_proxy.runtime.abi import Memory, NoRoom
from skylark_proxy.runtime.guard import Guard
from skylark_proxy.runtime.image import Image, MappedMemory

WASM_PAGE_BYTES = 1 << 16
SOFT_SIZE = "soft-size"
"""The global that says how many pages the guest has (`skylark_flatten.SOFT_SIZE`)."""
FUNCTIONS = ("functions", "functions:post", "handle", "handle:post", "realloc", "free", "now")
"""The functions that a hosted module exports."""

_MOST_SLOTS = 24
_U32 = 0xFFFFFFFF
_SPARE_BYTES = 256
_SPARE_BLOCKS = 24
_LARGE_BYTES = 1 << 20


class Ended(Exception):
    """The guest did not come back. `cause` is a word for why: `trap`, `exit` or `deadline`."""

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause
        self.reason = reason


class _Current(threading.local):
    """The instance whose guest this thread runs."""

    instance: "Instance | None" = None


CURRENT = _Current()


class _Frame:
    """The slots of one call's arguments and results, and where its trap goes."""

    def __init__(self) -> None:
        self._raw = (ffi.wasmtime_val_raw_t * _MOST_SLOTS)()
        self.slots = (ctypes.c_int64 * (capi.SLOT_WORDS * _MOST_SLOTS)).from_buffer(self._raw)
        self.address = ctypes.addressof(self._raw)
        self.trap = ctypes.c_void_p()
        self.trap_address = ctypes.addressof(self.trap)


class Pristine(NamedTuple):
    """What instances of a module begin with.

    Attributes:
        image: Their memory; None where the system cannot reset it, and every call has a new instance.
        globals: Their mutable globals.
        spare: Blocks of the guest's memory that were allocated beforehand; see `Instance.spare`.
    """

    image: Image | None
    globals: tuple[Any, ...]
    spare: tuple[int, ...]


class Instance:
    """An instance. It runs one call at a time, in the thread that calls.

    Args:
        store: A new store with its limits, which the instance closes.
        pre: The module with all that it imports (`wasmtime_instance_pre_t`).
        globals_: The names under which the module exports its mutable globals.
        memory_bytes: What its memory may have.
        environment: The guest's environment variables.
        pristine: What it begins with; None: with the module's own data.

    Raises:
        WasmtimeError: The module needs more than its limits.
    """

    def __init__(
        self,
        store: Store,
        pre: Any,
        globals_: Sequence[str],
        memory_bytes: int,
        environment: Mapping[str, str],
        pristine: Pristine | None = None,
    ) -> None:
        self.environment = environment
        self.guard = Guard(store)
        self.state: Any = None
        self.may_leave = True
        self.ended: Ended | None = None
        self.outputs: Sequence[Any] = ()
        self._store = store
        self._context: Any = store._context()
        self._context_address = ctypes.cast(self._context, ctypes.c_void_p).value or 0
        self._frames, self._depth = (_Frame(), _Frame()), 0
        store.set_wasi(WasiConfig())
        self.guard.start(60_000)
        self._instance = self._instantiate(pre)
        self._externs = {name: self._export(name) for name in FUNCTIONS}
        self._functions = {name: ctypes.addressof(one.of.func) for name, one in self._externs.items()}
        self._globals = {name: self._export(name).of.global_ for name in globals_}
        address, view = self._grown(memory_bytes)
        self.memory = Memory(view, self._allocate)
        self._spare: list[int] = []
        self._pristine = pristine
        self._mapped: MappedMemory | None = None
        if pristine is not None and pristine.image is not None:
            self._mapped = MappedMemory(pristine.image, address, view)
            self._restore_globals(pristine)

    # -- calls

    def call(self, name: str, *arguments: int) -> int:
        """Call a function of the guest and return its result.

        Raises:
            Ended: It did not come back.
        """
        return self._call(self._functions[name], arguments)

    def finish(self, name: str, result: int) -> None:
        """Tell the guest that the result of a function has been read, so that it frees it."""
        self._call_alone(self._functions[f"{name}:post"], (result,))

    def free(self, address: int) -> None:
        """Give memory back to the guest's allocator."""
        self._call_alone(self._functions["free"], (address,))

    def land(self, _name: str, size: int) -> memoryview:
        """Return new memory of the guest's, for any thread of the host to write to; see `Memory.land`."""
        if self._mapped is not None:
            self._mapped.distrust()
        return self.memory.land(size)

    def now_ns(self) -> int:
        """The guest's monotonic clock, which begins with the instance."""
        return self._call_alone(self._functions["now"], (), 64)

    def _allocate(self, size: int, align: int) -> int:
        if size <= _SPARE_BYTES and self._spare:
            return self._spare.pop()
        if size >= _LARGE_BYTES:
            self._check_room(size)
        return self._new_block(size, size, align)

    def _check_room(self, size: int) -> None:
        """Check that there is room for a large block and for the copy of it that the guest's bindings make.

        Where there is none they would end the guest.
        """
        wanted = 2 * size + _LARGE_BYTES
        if wanted > self.memory.size - self.size_bytes:  # else there is, beyond what the guest has asked for yet
            self.free(self._new_block(size, wanted, 1))

    def _new_block(self, wanted: int, size: int, align: int) -> int:
        """Return a new block of the guest's allocator. Address 0 says that it has no room."""
        address = self._call_alone(self._functions["realloc"], (0, 0, align, size)) if size <= _U32 else 0
        if not address and size:
            raise NoRoom(wanted, self.memory.size)
        return address

    def _call_alone(self, function: int, arguments: tuple[int, ...], bits: int = 32) -> int:
        """Call a function that must not call the host's functions, as the canonical ABI demands."""
        before, self.may_leave = self.may_leave, False
        try:
            return self._call(function, arguments, bits)
        finally:
            self.may_leave = before

    def _call(self, function: int, arguments: tuple[int, ...], bits: int = 32) -> int:
        frame = self._frames[self._depth]
        slots = frame.slots
        for number, value in enumerate(arguments):
            slots[capi.SLOT_WORDS * number] = value
        before, CURRENT.instance = CURRENT.instance, self
        self._depth += 1
        try:
            error = capi.func_call(
                self._context_address, function, frame.address, max(1, len(arguments)), frame.trap_address
            )
        finally:
            self._depth -= 1
            CURRENT.instance = before
        if error or frame.trap.value:
            trap, frame.trap.value = frame.trap.value, None
            raise self._why(capi.message_of(error, trap))
        return slots[0] & ((1 << bits) - 1)

    def _why(self, message: str) -> Ended:
        if self.guard.reason is not None:
            return Ended(self.guard.reason, self.guard.reason)
        if self.ended is not None:
            return self.ended
        lines = [line.strip() for line in message.splitlines() if line.strip() and "wasm function" not in line]
        return Ended("trap", lines[-1] if lines else "no reason given")

    def print(self, fd: int, data: bytes) -> None:
        """Take what the guest prints to its standard output (1) or error (2)."""
        if self.outputs:
            self.outputs[fd - 1].write(data)

    # -- reset

    def begin(self, deadline_ms: int) -> None:
        """Begin an invocation: what the host keeps of the last one goes."""
        self.ended, self.may_leave, self._depth = None, True, 0
        if self._mapped is not None:
            self._mapped.begin()
        self.guard.start(deadline_ms)

    def pristine(self, immortal: bytes = b"") -> Pristine:
        """Return what the instance is now, for others to begin with. It must not be used any more.

        Args:
            immortal: The addresses of objects to make immortal; see `immortal`.
        """
        self._spare = [self._allocate_spare() for _ in range(_SPARE_BLOCKS)]
        values = tuple(self._value_of(one) for one in self._globals.values())
        return Pristine(Image.of(self.memory.view[: self.size_bytes], immortal), values, tuple(self._spare))

    @property
    def size_bytes(self) -> int:
        """The bytes of memory that the guest has asked for."""
        return (int(self._value_of(self._globals[SOFT_SIZE]).of.i32) & _U32) * WASM_PAGE_BYTES

    @property
    def can_be_reset(self) -> bool:
        """True if `reset` makes it as it was at first."""
        return self._mapped is not None

    def reset(self) -> None:
        """Make it as it was at first: memory and globals, which are all that a call can change in the guest.

        Raises:
            OSError: The system does not tell what was written; the instance must be closed.
        """
        assert self._mapped is not None and self._pristine is not None
        self._mapped.reset()
        self._restore_globals(self._pristine)

    def close(self) -> None:
        """Free it."""
        self.memory.view.release()
        self._store.close()

    def _allocate_spare(self) -> int:
        return self.memory.check(self._allocate(_SPARE_BYTES, 8), _SPARE_BYTES, 8)

    def _restore_globals(self, pristine: Pristine) -> None:
        self._spare = list(pristine.spare)
        for one, value in zip(self._globals.values(), pristine.globals, strict=True):
            capi.global_set(self._context_address, byref(one), byref(value))

    def _value_of(self, one: Any) -> Any:
        value = ffi.wasmtime_val_t()
        capi.global_get(self._context_address, byref(one), byref(value))
        return value

    # -- construction

    def _instantiate(self, pre: Any) -> Any:
        instance, trap = ffi.wasmtime_instance_t(), ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_instance_pre_instantiate(pre, self._context, byref(instance), byref(trap))
        addresses = (ctypes.cast(one, ctypes.c_void_p).value for one in (error, trap))
        if error or trap:
            raise WasmtimeError(capi.message_of(*addresses))
        return instance

    def _export(self, name: str) -> Any:
        item, encoded = ffi.wasmtime_extern_t(), name.encode()
        found = ffi.wasmtime_instance_export_get(
            self._context, byref(self._instance), encoded, len(encoded), byref(item)
        )
        return item if found else None

    def _grown(self, memory_bytes: int) -> tuple[int, memoryview]:
        """Give the memory all that it may have, so that it never moves; return its address and a view of all of it."""
        memory = self._export("memory").of.memory
        pages = ffi.wasmtime_memory_size(self._context, byref(memory))
        more, before = memory_bytes // WASM_PAGE_BYTES - pages, ctypes.c_uint64()
        if more > 0:
            capi.check(ffi.wasmtime_memory_grow(self._context, byref(memory), more, byref(before)))
        size = ffi.wasmtime_memory_data_size(self._context, byref(memory))
        address = ctypes.cast(ffi.wasmtime_memory_data(self._context, byref(memory)), ctypes.c_void_p).value or 0
        return address, memoryview((ctypes.c_char * size).from_address(address)).cast("B")
