"""Functions in plain CPython: `python -m skylark.native app.py`, which `skylark run --native app.py` calls.

One request at a time, in the main thread and in the foreground, so that `breakpoint()` gives a debugger at the
terminal. The source file and the modules beside it are loaded again when they have changed.
"""

import argparse
import asyncio
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from skylark import errors
from skylark.functions import NEEDS, REGISTRY, FunctionError
from skylark.http_answers import Answer, Refused, defect, error_answer, function_failed, refused
from skylark.http_backend import DEFAULT_URL, HttpBackend, Refusal
from skylark.http_routes import MAX_BODY_BYTES, Call, Head, Page, body_size, route
from skylark.http_server import HttpServer
from skylark.http_service import Service
from skylark.http_settings import ServerSettings


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


class NativeApplication:
    """The functions of one source file behind their routes; the file is loaded again when it was saved."""

    def __init__(self, source: Source, backend: HttpBackend, node: str, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._source = source
        self._service = Service(backend, node, fail=_failed)
        self._max_body_bytes = max_body_bytes

    def asked(self, head: Head) -> Call | Page:
        """Return what a request asks for; which functions there are is found out when it is answered.

        Raises:
            Refused: There is no such thing, or the body that is announced is too large.
        """
        asked = route(head)
        body_size(head, self._max_body_bytes)
        return asked

    def answer(self, head: Head, asked: Call | Page, body: memoryview) -> Answer:
        """Answer a request with what the source has now. Ctrl-C ends it, and the server."""
        try:
            if isinstance(asked, Call):
                return self._load() or self._service.invoke(head, asked, body, REGISTRY)
            return (self._load() if asked is Page.FUNCTIONS else None) or self._service.page(asked, REGISTRY)
        except Refused as refusal:
            return refused(refusal)
        except Exception:
            traceback.print_exc()
            return defect()

    def _load(self) -> Answer | None:
        """Load the source where it has changed; return what to answer if it cannot be loaded."""
        try:
            if self._source.refresh():
                print(f"loaded {', '.join(REGISTRY) or 'no function'}", file=sys.stderr)
        except Exception as error:
            traceback.print_exc()
            details = {"code": "function-failed", "message": f"the source cannot be loaded: {error!r}"}
            return error_answer(422, details | {"retryable": False, "traceback": traceback.format_exc()})
        return None


def _failed(error: FunctionError, _refusal: Refusal | None, headers: Mapping[str, str]) -> Answer:
    """Answer with the traceback whatever ended a function: its developer is the caller."""
    cause = error.__cause__
    code = cause.code if isinstance(cause, errors.SkylarkError) else "function-failed"
    return function_failed(error, headers, code)


def _serve(server: HttpServer, started: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    The loop is not asyncio.run's, which would keep Ctrl-C from a function: it has the main thread, as a debugger needs.
    """
    loop = asyncio.new_event_loop()
    try:
        [url] = loop.run_until_complete(server.listen())
        started(url)
        loop.run_forever()
    finally:
        loop.close()


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
    settings = ServerSettings(hosts=(given.host,), port=given.port, log_requests=True)
    server = HttpServer(NativeApplication(Source(given.source), backend, node), settings, _log)
    try:
        _serve(server, lambda url: _log(f"serving {given.source} at {url}, state at {given.proxy}"))
    except OSError as error:
        parser.exit(1, f"skylark: cannot listen at {given.host}, port {given.port}: {error.strerror}\n")
    except KeyboardInterrupt:
        _log("ended")


def _log(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
