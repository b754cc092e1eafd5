"""The wasmtime engine of a proxy, and the disk cache of compiled modules."""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

from wasmtime import Config, Module, WasmtimeError
from wasmtime import Engine as WasmtimeEngine
from wasmtime import _ffi as ffi

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.private_folders import check_private, make_private
from skylark_proxy.runtime.stacks import GUEST_STACK_BYTES
from skylark_proxy.runtime.world import check_world

TICK_MS = 10
"""How often running guests look at their deadline."""


class Engine:
    """Compiles components, once for each content and version of what does it, and makes running guests look up often.

    A component is flattened into one core module first; see `skylark_flatten`.

    Args:
        cache_dir: Where compiled modules are kept. Whoever can write there can run native code in the proxy: it is
            made accessible to its owner only.
    """

    def __init__(self, cache_dir: Path) -> None:
        config = Config()
        config.epoch_interruption = True
        config.max_wasm_stack = GUEST_STACK_BYTES
        # wasmtime refuses less than that, although our guests never run on such a stack.
        ffi.wasmtime_config_async_stack_size_set(config.ptr(), GUEST_STACK_BYTES + (1 << 20))
        self.wasmtime = WasmtimeEngine(config)
        self._cache_dir = cache_dir
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="epoch-ticker", daemon=True)
        self._ticker.start()

    def close(self) -> None:
        """Stops the ticker; running guests are no longer interrupted."""
        self._ended.set()
        self._ticker.join()

    def load(self, wasm: Path) -> Module:
        """The compiled module of a component's file, from the cache where it can be. Compiling takes seconds.

        Raises:
            InvalidArgument: The file cannot be read, is no component of the hosted world, cannot be flattened, or
                this wasmtime version cannot compile it.
            ConfigError: Others can write to the cache.
        """
        content = self._read(wasm)
        cached = (
            self._cache_dir / f"{digest(content)}-{flattener_fingerprint()[:16]}-wasmtime-{version('wasmtime')}.cwasm"
        )
        make_private(self._cache_dir)
        check_private(self._cache_dir, "SKYLARK_CACHE_DIR")
        with _locked(cached.with_suffix(".lock")):
            if cached.exists():
                with contextlib.suppress(WasmtimeError):
                    return Module.deserialize_file(self.wasmtime, str(cached))
            check_world(content, str(wasm))
            module = self._compile(wasm, content)
            _write_atomically(cached, bytes(module.serialize()))
        return module

    def _compile(self, wasm: Path, content: bytes) -> Module:
        # Here: nobody waits for these whose modules are cached.
        from skylark_flatten.errors import FlattenError
        from skylark_flatten.flatten import flatten
        from skylark_flatten.plan import World

        try:
            return Module(self.wasmtime, flatten(content, world=World.HOSTED).module)
        except FlattenError as error:
            raise InvalidArgument("component", str(wasm), f"one that can be made a core module: {error}") from error
        except WasmtimeError as error:
            raise InvalidArgument("component", str(wasm), f"a WebAssembly component ({_first_line(error)})") from error

    @staticmethod
    def _read(wasm: Path) -> bytes:
        try:
            return wasm.read_bytes()
        except OSError as error:
            raise InvalidArgument("component", str(wasm), f"a readable file ({error.strerror})") from error

    def _tick(self) -> None:
        while not self._ended.wait(TICK_MS / 1000):
            self.wasmtime.increment_epoch()


def digest(content: bytes) -> str:
    """The name of a content: its SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@cache
def flattener_fingerprint() -> str:
    """Names all of the flattener that goes into a module, without importing it."""
    found = importlib.util.find_spec("skylark_flatten")
    assert found is not None and found.origin is not None
    package = Path(found.origin).parent
    files = sorted(file for file in package.rglob("*") if file.suffix in (".py", ".wasm"))
    return digest("\n".join(f"{file.relative_to(package)} {digest(file.read_bytes())}" for file in files).encode())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock that other processes respect: several proxies of one machine compile a component only once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_atomically(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".partial-", delete=False) as file:
        try:
            file.write(content)
            file.close()
            os.replace(file.name, path)  # noqa: PTH105
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
