"""Functions in plain CPython: `python -m skylark.native app.py`, which `skylark run --native app.py` calls.

One request at a time, in the main thread and in the foreground, so that `breakpoint()` gives a debugger at the
terminal. The source file and the modules beside it are loaded again when they have changed.
"""

import argparse
import importlib.util
import json
import os
import sys
import traceback
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from skylark import errors
from skylark.context import Request
from skylark.functions import NEEDS, REGISTRY, FunctionError, Invocation, Outcome, run
from skylark.http_backend import DEFAULT_URL, HttpBackend
from skylark.state import Policy

_MAX_BODY_BYTES = 128 << 20


class Source:
    """A function's source file, loaded again when it, or a module beside it, has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._loaded: dict[Path, float] = {}
        sys.path.insert(0, str(self._path.parent))

    def refresh(self) -> bool:
        """Loads the source where that is needed; returns whether it was.

        Raises:
            Exception: Whatever the source raises. It is loaded again at the next call.
        """
        if self._loaded and all(path.exists() and path.stat().st_mtime == at for path, at in self._loaded.items()):
            return False
        self._forget()
        spec = importlib.util.spec_from_file_location(self._path.stem, self._path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self._path.stem] = module
        spec.loader.exec_module(module)
        self._loaded = {path: path.stat().st_mtime for path in (self._path, *self._beside())}
        return True

    def _forget(self) -> None:
        REGISTRY.clear()
        NEEDS.clear()
        self._loaded = {}
        for name in self._beside().values():
            del sys.modules[name]

    def _beside(self) -> dict[Path, str]:
        """The modules that were loaded from the source's folder, but for `__main__`."""
        found = {}
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and name != "__main__" and self._path.parent in Path(file).resolve().parents:
                found[Path(file).resolve()] = name
        return found


class NativeServer(HTTPServer):
    """Serves the functions of one source file."""

    def __init__(self, address: tuple[str, int], source: Source, backend: HttpBackend, node: str) -> None:
        super().__init__(address, _Handler)
        self.source = source
        self.backend = backend
        self.node = node


class _Handler(BaseHTTPRequestHandler):
    server: NativeServer
    protocol_version = "HTTP/1.1"
    timeout = 30.0

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/health/liveness":
            self._answer(200, {"node": self.server.node, "status": "alive"})
        elif path == "/functions" and self._load():
            self._answer(200, {"functions": [{"name": name} for name in REGISTRY]})
        elif path != "/functions":
            self._fail(404, "not-found", f"no path {path!r}; there are /functions and /health/liveness")

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        prefix, _, names = parts.path.rpartition("/")
        length = self.headers.get("Content-Length", "0")
        if prefix != "/functions" or not names:
            self._fail(404, "not-found", f"no path {parts.path!r}; functions are at /functions/NAME")
        elif not length.isdecimal() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._fail(413, "too-large", f"Content-Length {length!r} is not a number up to {_MAX_BODY_BYTES}")
        elif self._load():
            self._invoke(tuple(unquote(names).split("+")), query, self.rfile.read(int(length)))

    def _load(self) -> bool:
        try:
            if self.server.source.refresh():
                print(f"loaded {', '.join(REGISTRY) or 'no function'}", file=sys.stderr)
        except Exception as error:
            traceback.print_exc()
            self._fail(422, "function-failed", f"the source cannot be loaded: {error!r}", traceback.format_exc())
            return False
        return True

    def _invoke(self, functions: tuple[str, ...], query: dict[str, str], body: bytes) -> None:
        key = query.get("key")
        chain_id = query.get("chain") or (key.split(":")[0] if key else uuid.uuid4().hex)
        invocation = Invocation(
            functions=functions,
            chain_id=chain_id,
            task_id=uuid.uuid4().hex,
            node=self.server.node,
            request=Request(memoryview(body), self.headers.get("Content-Type", "")),
            state_key=key,
        )
        try:
            policy = Policy(query["policy"].lower()) if "policy" in query else None
        except ValueError as error:
            self._fail(400, "invalid-argument", f"policy: {error}; expected one of {[item.value for item in Policy]}")
            return
        self.server.backend.begin(chain_id, invocation.task_id, query.get("destination"), policy)
        try:
            self._succeed(invocation, run(invocation, self.server.backend))
        except FunctionError as error:
            print(error.traceback, file=sys.stderr)
            cause = error.__cause__
            code = cause.code if isinstance(cause, errors.SkylarkError) else "function-failed"
            self._fail(
                422, code, f"function {error.function!r} failed ({error.kind}): {error.message}", error.traceback
            )

    def _succeed(self, invocation: Invocation, outcome: Outcome) -> None:
        headers = {"Skylark-Task": invocation.task_id, "Skylark-Chain": invocation.chain_id}
        if outcome.key is not None:
            headers["Skylark-Key"] = outcome.key
        if outcome.response is not None:
            self._send(outcome.response.status, bytes(outcome.response.body), outcome.response.content_type, headers)
            return
        content = {"chain_id": invocation.chain_id, "task_id": invocation.task_id, "key": outcome.key}
        self._answer(200, content | {"functions": list(invocation.functions), "node": invocation.node}, headers)

    def _answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", headers or {})

    def _fail(self, status: int, code: str, message: str, trace: str = "") -> None:
        self._answer(status, {"error": {"code": code, "message": message, "retryable": False, "traceback": trace}})

    def _send(self, status: int, body: bytes, content_type: str, headers: dict[str, str]) -> None:
        """Answers, and closes: a client that kept its connection would keep all others out."""
        self.send_response(status)
        own = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
        for name, value in (own | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        print(
            f"{getattr(self, 'command', '-')} {getattr(self, 'path', '')} {args[1] if len(args) > 1 else ''}",
            file=sys.stderr,
        )


def main() -> None:
    """The command line; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m skylark.native", description="Runs functions in plain CPython.")
    parser.add_argument("source", type=Path, help="a Python file with at least one @skylark.function")
    parser.add_argument("--proxy", default=os.environ.get("SKYLARK_PROXY_URL", DEFAULT_URL), help="the node's proxy")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=30080, help="the port to listen on; 0: a free one")
    given = parser.parse_args()
    sys.dont_write_bytecode = True  # a cached file is told apart by whole seconds, which is too coarse for a reload
    backend = HttpBackend(given.proxy)
    try:
        node = backend.node()
    except errors.SkylarkError as error:
        node = "native"
        print(f"functions that use state will fail: {error}", file=sys.stderr)
    with NativeServer((given.host, given.port), Source(given.source), backend, node) as server:
        print(
            f"serving {given.source} at http://{given.host}:{server.server_port}, state at {given.proxy}",
            file=sys.stderr,
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended", file=sys.stderr)


if __name__ == "__main__":
    main()
