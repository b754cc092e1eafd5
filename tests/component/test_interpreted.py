"""A module that is interpreted tells so, though nothing in WASI says it."""

from pathlib import Path

from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.target import Target
from wasi_http import interpreted_host_run, serve_command

SOURCE = Path(__file__).parent / "functions" / "everything.py"


def test_an_interpreted_module_says_so(tmp_path: Path) -> None:
    """Wasmtime's interpreter is much faster than WasmEdge's, and is told from native code all the same."""
    module = tmp_path / "everything.wasmedge.wasm"
    build(SOURCE, module, Config.load({}).cache_dir / "components", target=Target.WASMEDGE)
    with serve_command(interpreted_host_run)(module, {}) as server:
        assert server.http.get("/health/liveness").json()["code"] == "interpreted"
        assert server.http.get("/health").json()["code"] == "interpreted"
        assert ", code: interpreted\n" in server.log()
