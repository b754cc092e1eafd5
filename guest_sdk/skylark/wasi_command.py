"""A component of the standard world `wasi:cli/command`: a server of its functions. Imported only in the sandbox.

What a server in an interpreter that is frozen needs is imported here, at the build: what is not, is not in it.

On runtimes of components the accept of wasi-libc aborts, and with it the process, where a client has reset its
connection before it was accepted: `tcp_accept4` cannot do without the remote address. The module for WasmEdge is linked
with a layer that always has one.
"""

import asyncio
import encodings.idna  # noqa: F401  # for the names of hosts
import errno
import os
import selectors
import sys
import traceback

import wit_command.exports
from componentize_py_types import Err

from skylark import output
from skylark.execution import Execution, measure
from skylark.functions import REGISTRY
from skylark.http_answers import Answer, Refused
from skylark.http_application import Application
from skylark.http_routes import Call, Head, Page
from skylark.http_server import HttpServer, serve
from skylark.http_settings import ServerSettings, Settings
from skylark.http_transport import KeptConnection


class Run(wit_command.exports.Run):
    """The exported interface `wasi:cli/run`. It knows two exit codes: 0, and 1 for every error."""

    def run(self) -> None:
        try:
            _serve()
        except SystemExit as ending:
            if ending.code in (None, 0):
                return
            print(ending.code, file=sys.stderr)
        except BaseException:  # whatever leaves an exported function aborts the instance
            traceback.print_exc()
        else:
            return
        finally:
            output.flush()
        raise Err(None)


class _Application(Application):
    """Answers as the servers of all targets, and then writes what is left of a line that a function printed."""

    def answer(self, head: Head, asked: Call | Page, body: memoryview) -> Answer:
        try:
            return super().answer(head, asked, body)
        finally:
            output.flush()


def _serve() -> None:
    """Serves the component's functions.

    Raises:
        SystemExit: A setting is not valid, or the port cannot be opened: one line that names the variable.
    """
    try:
        settings, own = Settings.read(os.environ, REGISTRY), ServerSettings.read(os.environ)
    except Refused as refusal:
        raise SystemExit(f"skylark: {refusal}") from None
    code = measure()
    server = HttpServer(_Application(settings, KeptConnection, REGISTRY, code), own)
    try:
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(serve(server, lambda urls: _started(urls, settings, code)))
    except OSError as error:
        where = f"{' and '.join(own.hosts) or 'all addresses'}"
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error
        raise SystemExit(f"skylark: PORT={own.port}: cannot listen there at {where}: {reason}") from None


def _loop() -> asyncio.AbstractEventLoop:
    """A loop that waits without looking up in between, as those of functions do; see `seal`."""
    return asyncio.SelectorEventLoop(selectors.PollSelector())


def _started(urls: list[str], settings: Settings, code: Execution) -> None:
    names, where = ", ".join(REGISTRY), " and ".join(urls)
    print(f"serving {names} on {where}, state at {settings.proxy_url}, code: {code}", file=sys.stderr)
