"""The components of the benchmarks' own functions."""

import shutil
from collections.abc import Callable
from pathlib import Path

from skylark_proxy.build import build
from skylark_proxy.config import Config

_FUNCTIONS = Path(__file__).parent / "functions"


def build_bench_component(
    folder: Path,
    config: Config,
    progress: Callable[[str], None],
    *,
    name: str = "bench_functions",
    reuse: bool = False,
) -> Path:
    """Builds one, or takes it from the cache; `reuse` says whether a sandbox serves more than one invocation."""
    progress("building the benchmark's functions (5 to 20 s the first time)")
    source = bench_source(folder, name=name, reuse=reuse)
    return build(source, source.with_suffix(".wasm"), config.cache_dir / "components").component


def bench_source(folder: Path, *, name: str = "bench_functions", reuse: bool = False) -> Path:
    """Puts the source of the benchmarks' functions into a folder, with a manifest for the proxy beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}.py"
    shutil.copyfile(_FUNCTIONS / source.name, source)
    limits = "memory_bytes = 1073741824\ndeadline_ms = 300000"
    source.with_suffix(".toml").write_text(f"reuse = {str(reuse).lower()}\nready = 8\n\n[limits]\n{limits}\n")
    return source
