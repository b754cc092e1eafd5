"""What a function prints leaves the module a line at a time: each write is a call of the host."""

import socket
import subprocess
from pathlib import Path

import httpx

from servers import free_port
from skylark_proxy.build import build
from skylark_proxy.config import Config
from skylark_proxy.target import Target
from wasi_http import host_run

SOURCE = Path(__file__).parent / "functions" / "everything.py"


def test_a_printed_line_is_one_write(tmp_path: Path) -> None:
    """However many arguments `print` has, on either stream; so is the line that says what is served."""
    module, port = tmp_path / "everything.wasmedge.wasm", free_port()
    build(SOURCE, module, Config.load({}).cache_dir / "components", target=Target.WASMEDGE)
    # Of such a socket each `recv` gives what one `write` wrote.
    log, output = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {"PORT": str(port), "SKYLARK_HOST": "127.0.0.1", "SKYLARK_NODE": "n1"}
    process = subprocess.Popen(
        host_run(module, environment), stdin=subprocess.DEVNULL, stdout=output.fileno(), stderr=output.fileno()
    )
    with log, process:
        output.close()
        log.settimeout(120)
        try:
            first = log.recv(4096)
            assert (first[:8], first[-1:]) == (b"serving ", b"\n")
            httpx.post(f"http://127.0.0.1:{port}/functions/prints", content=b"me", timeout=60)
            assert [log.recv(4096), log.recv(4096)] == [b"said on stdout me\n", b"said on stderr me\n"]
        finally:
            process.kill()
