"""Functions in plain CPython: `python -m skylark.native app.py`, which `skylark run --native app.py` calls.

One request at a time, in the main thread and in the foreground, so that `breakpoint()` gives a debugger at the
terminal. The source file and the modules beside it are loaded again when they have changed.
"""

import argparse
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from skylark import errors
from skylark.functions import NEEDS, REGISTRY, FunctionError
from skylark.http_answers import Answer, Refused, error_answer, function_failed, refused
from skylark.http_backend import DEFAULT_URL, HttpBackend, Refusal
from skylark.http_routes import MAX_BODY_BYTES, Call, Head, Page, body_size, route
from skylark.http_service import Service


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
        self.service = Service(backend, node, fail=_failed)


def _failed(error: FunctionError, _refusal: Refusal | None, headers: Mapping[str, str]) -> Answer:
    """Whatever ended a function, its developer sees where: also of what its caller would only be told the reason."""
    cause = error.__cause__
    code = cause.code if isinstance(cause, errors.SkylarkError) else "function-failed"
    return function_failed(error, headers, code)


class _Handler(BaseHTTPRequestHandler):
    server: NativeServer
    protocol_version = "HTTP/1.1"
    timeout = 30.0

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        head = Head.of(self.command, self.path, dict(self.headers))
        try:
            answer = self._answer(head, route(head))
        except Refused as refusal:
            self.close_connection = True
            answer = refused(refusal)
        self._send(answer)

    def _answer(self, head: Head, asked: Call | Page) -> Answer:
        if isinstance(asked, Call):
            size = body_size(head, MAX_BODY_BYTES) or 0
            return self._load() or self.server.service.invoke(head, asked, self._body(size), REGISTRY)
        return (self._load() if asked is Page.FUNCTIONS else None) or self.server.service.page(asked, REGISTRY)

    def _body(self, size: int) -> memoryview:
        return memoryview(self.rfile.read(size))

    def _load(self) -> Answer | None:
        """Loads the source where it has changed; returns what to answer where it cannot be loaded."""
        try:
            if self.server.source.refresh():
                print(f"loaded {', '.join(REGISTRY) or 'no function'}", file=sys.stderr)
        except Exception as error:
            traceback.print_exc()
            details = {"code": "function-failed", "message": f"the source cannot be loaded: {error!r}"}
            return error_answer(422, details | {"retryable": False, "traceback": traceback.format_exc()})
        return None

    def _send(self, answer: Answer) -> None:
        """Answers, and closes: a client that kept its connection would keep all others out."""
        self.send_response(answer.status)
        own = {"Content-Length": str(len(answer.body)), "Connection": "close"}
        for name, value in (own | dict(answer.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

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
