"""How commands reach a running testbed: HTTP over a unix socket in its folder, which a lock keeps for one testbed."""

import contextlib
import fcntl
import http.client
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skylark_proxy.api.answers import error_answer, json_answer, on_defect, on_http_error
from skylark_proxy.api.json_bodies import json_body
from skylark_proxy.config import Config
from skylark_proxy.errors import HTTP_STATUS, InvalidArgument, SkylarkError
from skylark_proxy.nodeinfo.messages import Name
from skylark_proxy.outputs import FOLDER, writing
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_server import EmbeddedRedis
from skylark_proxy.redis_wire import RedisWire
from skylark_proxy.store import Store
from skylark_testbed.errors import TestbedError
from skylark_testbed.network_json import LinkBody
from skylark_testbed.scratch import undisturbed
from skylark_testbed.testbed import Testbed, TestNode

_SOCKET, _LOCK = "control.sock", "lock"
_SOCKET_PATH_BYTES = 104
_TIMEOUT_S = 120.0
_END_S = 60.0
_POLL_S = 0.02
_REFUSED = 409


def default_folder() -> Path:
    """The folder of the testbed that no other one is named for."""
    return Config.load().cache_dir / "testbed"


@contextlib.contextmanager
def claimed_folder(folder: Path, keep: bool) -> Iterator[Path]:
    """The folder of a testbed, for this process alone, as long as that lives; it is gone in the end, unless it is to be
    kept.

    Raises:
        InvalidArgument: It has other things in it, or a name that is too long for a unix socket.
        TestbedError: Another testbed runs in it.
    """
    folder = prepare_folder(folder)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise _taken(folder) from None
    try:
        yield folder
    finally:
        with undisturbed():
            (folder / _SOCKET).unlink(missing_ok=True)
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def prepare_folder(folder: Path) -> Path:
    """Makes the folder of a testbed; see `claimed_folder`."""
    folder = folder.resolve()
    if len(os.fsencode(folder / _SOCKET)) > _SOCKET_PATH_BYTES:
        expected = f"a path of at most {_SOCKET_PATH_BYTES - len(_SOCKET) - 1} bytes, as a unix socket is in it"
        raise InvalidArgument("--folder", str(folder), expected)
    with writing("--folder", folder, FOLDER):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / _LOCK).exists():
        raise InvalidArgument("--folder", str(folder), "a folder that is empty, or was a testbed's")
    if is_claimed(folder):
        raise _taken(folder)
    with writing("--folder", folder, FOLDER):
        (folder / _LOCK).touch(mode=0o600)
    return folder


def is_claimed(folder: Path) -> bool:
    """Whether a testbed runs there, or begins or ends."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _taken(folder: Path) -> TestbedError:
    return TestbedError(f"a testbed runs in {folder}; end it with `skylark testbed down`, or name another --folder")


def listen_in(folder: Path) -> socket.socket:
    """The socket to serve on."""
    listener = socket.socket(socket.AF_UNIX)
    (folder / _SOCKET).unlink(missing_ok=True)
    listener.bind(str(folder / _SOCKET))
    return listener


class _NodeBody(msgspec.Struct, forbid_unknown_fields=True):
    node: Name


@dataclass(frozen=True)
class ControlApi:
    """What the commands ask of a testbed."""

    testbed: Testbed

    def app(self, on_started: Callable[[], None]) -> Starlette:
        """The application; `on_started` is called in a thread once it serves."""

        @contextlib.asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            await run_in_threadpool(on_started)
            yield

        handlers: Any = {SkylarkError: _on_error, HTTPException: on_http_error, Exception: on_defect}
        routes = [
            Route("/status", self.status, methods=["GET"]),
            Route("/down", self.down, methods=["POST"]),
            Route("/cut", self.cut, methods=["POST"]),
            Route("/heal", self.heal, methods=["POST"]),
            Route("/slow", self.slow, methods=["POST"]),
            Route("/advance", self.advance, methods=["POST"]),
            Route("/kill", self.kill, methods=["POST"]),
            Route("/restart", self.restart, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)

    async def status(self, _request: Request) -> Response:
        """How it is now."""
        return json_answer(await run_in_threadpool(status_of, self.testbed))

    async def down(self, _request: Request) -> Response:
        """Ends it: the process gets SIGTERM once this is answered."""
        ending = BackgroundTask(os.kill, os.getpid(), signal.SIGTERM)
        return Response(b"{}", media_type="application/json", background=ending)

    async def cut(self, request: Request) -> Response:
        """Cuts a link."""
        body = await json_body(request, LinkBody)
        await run_in_threadpool(self.testbed.cut, *body.between)
        return json_answer({})

    async def heal(self, request: Request) -> Response:
        """Heals a link."""
        body = await json_body(request, LinkBody)
        await run_in_threadpool(self.testbed.heal, *body.between)
        return json_answer({})

    async def slow(self, request: Request) -> Response:
        """Changes a link."""
        body = await json_body(request, LinkBody)
        await run_in_threadpool(self.testbed.slow, *body.between, body.latency_ms, body.bandwidth_mbps)
        return json_answer({})

    async def advance(self, _request: Request) -> Response:
        """Takes the next topology."""
        await run_in_threadpool(self.testbed.advance)
        return json_answer({"epoch": await run_in_threadpool(self.testbed.network.epoch)})

    async def kill(self, request: Request) -> Response:
        """Kills a node."""
        node = self.testbed.node((await json_body(request, _NodeBody)).node)
        await run_in_threadpool(node.kill)
        return json_answer({})

    async def restart(self, request: Request) -> Response:
        """Starts a node again."""
        node = self.testbed.node((await json_body(request, _NodeBody)).node)
        await run_in_threadpool(node.restart)
        return json_answer({})


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SkylarkError)
    return error_answer(error, HTTP_STATUS.get(error.code, _REFUSED))


def status_of(testbed: Testbed) -> dict[str, Any]:
    """The nodes, the links now, and the epoch of the topology that the nodes are told."""
    nodes = [
        {
            "name": name,
            "tier": node.tier,
            "url": node.url,
            "ca": None if node.running.tls.ca is None else str(node.running.tls.ca),
            "alive": node.alive,
            "pid": node.running.process.pid if node.alive else None,
            "waiting": _waiting(testbed.folder, node),
            "node_info_url": testbed.node_info_url(name),
            "log": str(node.log),
        }
        for name, node in testbed.nodes.items()
    ]
    known = {"folder": str(testbed.folder), "pid": os.getpid(), "epoch": testbed.network.epoch()}
    return known | {"nodes": nodes} | testbed.network.links()


def _waiting(folder: Path, node: TestNode) -> int | None:
    """Return how many copies of a node's bundles other nodes do not have yet; None: its Redis does not answer."""
    if not node.alive:
        return None
    wire = RedisWire(connect(EmbeddedRedis(folder / node.name).url))
    try:
        return sum(len(holders) for _, holders in Store(wire, node.name).behind())
    except SkylarkError:
        return None
    finally:
        wire.close()


@dataclass(frozen=True)
class Control:
    """Asks the testbed that runs in a folder.

    Every method raises `TestbedError` where none does, or where it refuses what is asked.
    """

    folder: Path

    def status(self) -> dict[str, Any]:
        """How it is; see `status_of`."""
        return self._ask("GET", "/status")

    def cut(self, one: str, other: str) -> None:
        """Cuts a link."""
        self._ask("POST", "/cut", {"between": [one, other]})

    def heal(self, one: str, other: str) -> None:
        """Heals a link."""
        self._ask("POST", "/heal", {"between": [one, other]})

    def slow(self, one: str, other: str, latency_ms: float | None, bandwidth_mbps: float | None) -> None:
        """Changes a link."""
        body = {"between": [one, other], "latency_ms": latency_ms, "bandwidth_mbps": bandwidth_mbps}
        self._ask("POST", "/slow", body)

    def advance(self) -> int:
        """Takes the next topology; returns its epoch."""
        epoch: int = self._ask("POST", "/advance")["epoch"]
        return epoch

    def kill(self, node: str) -> None:
        """Kills a node."""
        self._ask("POST", "/kill", {"node": node})

    def restart(self, node: str) -> None:
        """Starts a node again, and waits until it serves."""
        self._ask("POST", "/restart", {"node": node})

    def down(self) -> None:
        """Ends it, and returns once nothing of it is left."""
        self._ask("POST", "/down")
        end_s = time.monotonic() + _END_S
        while is_claimed(self.folder):
            if time.monotonic() > end_s:
                raise TestbedError(f"the testbed in {self.folder} has not ended after {_END_S:.0f} s")
            time.sleep(_POLL_S)

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        connection = _UnixConnection(self.folder / _SOCKET)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, None if body is None else msgspec.json.encode(body))
                answer = connection.getresponse()
                content = msgspec.json.decode(answer.read(), type=dict[str, Any])
            except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
                reason = "it does not answer" if is_claimed(self.folder) else "`skylark testbed up FILE` starts one"
                raise TestbedError(f"no testbed serves in {self.folder}: {reason}") from error
        if answer.status >= 400:
            raise TestbedError(content["error"]["message"])
        return content


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("testbed", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(str(self._path))
