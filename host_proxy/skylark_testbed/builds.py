"""Builds the functions of a testbed: components from the cache, and the machine code that the nodes load."""

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime import Engine
from skylark_testbed.scratch import undisturbed

Progress = Callable[[str], None]

_BUILDS_AT_ONCE = 2
_JOIN_S = 0.1


def build_functions(sources: Sequence[Path], folder: Path, config: Config, progress: Progress) -> dict[Path, Path]:
    """Builds source files, and compiles all components, so that nodes start at once.

    Args:
        sources: Source files, and components, which stay where they are.
        folder: Where built components go, each with the manifest beside its source.

    Returns:
        The component of each source.

    Raises:
        InvalidArgument: Two files have the same name.
        BuildError: A file cannot be built.
    """
    components = {source: _component(source, folder) for source in dict.fromkeys(sources)}
    if len({component.name for component in components.values()}) < len(components):
        names = sorted(source.name for source in components)
        raise InvalidArgument("functions", ", ".join(names), "files with different names")
    _build_all([source for source in components if source.suffix == ".py"], components, config, progress)
    _compile_all(list(components.values()), config, progress)
    return components


def _component(source: Path, folder: Path) -> Path:
    return folder / f"{source.stem}.wasm" if source.suffix == ".py" else source


def _build_all(sources: Sequence[Path], components: dict[Path, Path], config: Config, progress: Progress) -> None:
    """Builds some sources at once. An interrupt ends the builds."""
    if not sources:
        return
    progress(f"building {len(sources)} components (5 to 20 s each the first time)")
    cancelled, slots = threading.Event(), threading.Semaphore(_BUILDS_AT_ONCE)

    def build_one(source: Path) -> None:
        with slots:
            if not cancelled.is_set():
                build_now(source)

    def build_now(source: Path) -> None:
        built = build(source, components[source], config.cache_dir / "components", cancelled=cancelled)
        manifest = source.with_suffix(".toml")
        if manifest.is_file():
            shutil.copyfile(manifest, components[source].with_suffix(".toml"))
        how = "from the cache" if built.cached else "built"
        progress(f"{built.component.name}: {built.size_bytes / 1e6:.0f} MB, {how}")

    pool = ThreadPoolExecutor(_BUILDS_AT_ONCE)
    try:
        for future in [pool.submit(build_one, source) for source in sources]:
            future.result()
    finally:
        with undisturbed():  # the builds end before their folder goes
            cancelled.set()
            pool.shutdown(cancel_futures=True)
            for _ in range(_BUILDS_AT_ONCE):  # the pool forgets a thread in whose start the interrupt came
                slots.acquire()
            slots.release(_BUILDS_AT_ONCE)


def _compile_all(components: Sequence[Path], config: Config, progress: Progress) -> None:
    """Fills the cache of compiled components. It is done in a thread that an interrupt leaves behind, since wasmtime's
    compiler cannot be interrupted."""
    failures: list[BaseException] = []

    def compile_all() -> None:
        engine = Engine(config.cache_dir / "compiled")
        try:
            for component in components:
                progress(f"compiling {component.name} to machine code (5 s the first time)")
                engine.load(component)
        except BaseException as error:
            failures.append(error)
        finally:
            engine.close()

    thread = threading.Thread(target=compile_all, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_JOIN_S)
    if failures:
        raise failures[0]
