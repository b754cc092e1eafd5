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
    source = folder / f"{name}.py"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_FUNCTIONS / source.name, source)
    component = build(source, source.with_suffix(".wasm"), config.cache_dir / "components").component
    limits = "memory_bytes = 1073741824\ndeadline_ms = 300000\nexchange_bytes = 536870912"
    component.with_suffix(".toml").write_text(f"reuse = {str(reuse).lower()}\nready = 8\n\n[limits]\n{limits}\n")
    return component
