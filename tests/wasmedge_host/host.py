"""Runs a core module: compiles it once for each content, links preview 1 and WasmEdge's functions, calls `_start`."""

import hashlib
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from wasmtime import (
    Config,
    Engine,
    ExitTrap,
    Func,
    FuncType,
    Linker,
    Memory,
    Module,
    Store,
    Trap,
    ValType,
    WasiConfig,
    WasmtimeError,
)
from wasmtime._exportable import AsExtern

from wasmedge_host.abi import WasiError, wasi_errno
from wasmedge_host.clocks import Clocks
from wasmedge_host.descriptors import Descriptors
from wasmedge_host.front import SHARED, WASI, back, front
from wasmedge_host.lookup import Lookup
from wasmedge_host.memory import GuestMemory
from wasmedge_host.polling import Polling
from wasmedge_host.sockets import Sockets
from wasmedge_host.streams import Streams

_STACK_BYTES = 2 << 20
_TRAPPED = 134
_INTERPRETER = "pulley64"
_PREFIXES = ("sock_", "fd_", "poll_", "clock_")
Function = Callable[..., None]


def run(
    module: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folders: Mapping[str, Path],
    cache: Path,
    interpret: bool = False,
) -> int:
    """Runs a module to its end with this process's standard streams.

    Args:
        module: A core module that exports `_start` and `memory`.
        arguments: Its arguments, without its name.
        environment: Its environment.
        folders: The folders that it may see, by the guest's name.
        cache: Where compiled modules are kept.
        interpret: Run it in wasmtime's interpreter, Pulley, instead of natively.

    Returns:
        Its exit code; 134 after a trap, which is printed.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # WasmEdge leaves it so, and Python does not
    config = Config()
    config.max_wasm_stack = _STACK_BYTES
    if interpret:
        config.target = _INTERPRETER
    engine = Engine(config)
    compiled = load(engine, module, cache, f"-{_INTERPRETER}" if interpret else "")
    store = Store(engine)
    store.set_wasi(_wasi(module, arguments, environment, folders))
    start = link(engine, store, compiled)
    try:
        start(store)
    except ExitTrap as exited:
        return int(exited.code)
    except (Trap, WasmtimeError) as error:
        print(error, file=sys.stderr)
        return _TRAPPED
    return 0


def load(engine: Engine, module: Path, cache: Path, target: str = "") -> Module:
    """Return the compiled module of a file, from the cache where it can be. Compiling 16 MB takes seconds."""
    content = module.read_bytes()
    name = hashlib.sha256(content).hexdigest()
    kept = cache / f"{name}-core-wasmtime-{version('wasmtime')}{target}.cwasm"
    if kept.exists():
        try:
            return Module.deserialize_file(engine, str(kept))
        except WasmtimeError:
            kept.unlink()
    compiled = Module(engine, content)
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=cache, prefix=".partial-", delete=False) as file:
        file.write(bytes(compiled.serialize()))
    Path(file.name).rename(kept)
    return compiled


def link(engine: Engine, store: Store, module: Module) -> Func:
    """The module's `_start`, with all that it imports."""
    memory = GuestMemory(store)
    functions = _functions(memory)
    linker = Linker(engine)
    linker.define_wasi()
    linker.allow_shadowing = True
    shared = _link_front(engine, store, functions)
    for item in module.imports:
        name, kind = item.name or "", item.type
        if name in shared:
            linker.define(store, WASI, name, shared[name])
        elif name in functions and isinstance(kind, FuncType):
            linker.define(store, WASI, name, Func(store, kind, _answering(functions[name])))
    guest = linker.instantiate(store, module).exports(store)
    exported, start = guest["memory"], guest["_start"]
    assert isinstance(exported, Memory) and isinstance(start, Func)
    memory.attach(exported)
    _link_back(engine, store, exported, shared["files"])
    return start


def _functions(memory: GuestMemory) -> dict[str, Function]:
    """All functions that are not wasmtime's, by name."""
    descriptors = Descriptors()
    polling = Polling(memory, descriptors)
    streams = Streams(memory, descriptors, polling.forget)
    parts = Sockets(memory, descriptors), Lookup(memory), streams, polling, Clocks(memory)
    names = [(part, name) for part in parts for name in dir(part) if name.startswith(_PREFIXES)]
    return {name: getattr(part, name) for part, name in names}


def _link_front(engine: Engine, store: Store, functions: Mapping[str, Function]) -> Mapping[str, AsExtern]:
    linker = Linker(engine)
    for name, parameters in SHARED.items():
        kind = FuncType([ValType.i32()] * len(parameters.split()), [ValType.i32()])
        linker.define(store, "python", name, Func(store, kind, _answering(functions[name])))
    exports = linker.instantiate(store, Module(engine, front())).exports(store)
    return {name: exports[name] for name in (*SHARED, "files")}


def _link_back(engine: Engine, store: Store, memory: Memory, files: AsExtern) -> None:
    linker = Linker(engine)
    linker.define_wasi()
    linker.define(store, "guest", "memory", memory)
    linker.define(store, "front", "files", files)
    linker.instantiate(store, Module(engine, back()))


def _answering(function: Function) -> Callable[..., int]:
    """A function whose result is its errno, with unsigned parameters, as the import has it."""

    def call(*parameters: int) -> int:
        try:
            function(*(parameter & 0xFFFFFFFF for parameter in parameters))
        except WasiError as error:
            return error.number
        except OSError as error:
            return wasi_errno(error)
        return 0

    return call


def _wasi(
    module: Path, arguments: Sequence[str], environment: Mapping[str, str], folders: Mapping[str, Path]
) -> WasiConfig:
    wasi = WasiConfig()
    wasi.argv = [module.name, *arguments]
    wasi.env = list(environment.items())
    for guest, host in folders.items():
        wasi.preopen_dir(str(host), guest)
    return wasi
