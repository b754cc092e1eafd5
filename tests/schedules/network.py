"""HTTP between simulated nodes: the real client (`Peers`) and the real answers (`PeerApi`), with links that fail.

A link is up, cut (nothing passes; who sends notices only by a timeout, or at once), or stalled (what is sent is held,
and passes once the link is up again, after its sender has given it up).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from urllib3._collections import HTTPHeaderDict
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError

from schedules.scheduler import Life, Scheduler
from skylark_proxy import bundle_http
from skylark_proxy.api.answers import error_answer
from skylark_proxy.api.peer import PeerApi
from skylark_proxy.errors import SkylarkError

TIMEOUT_S = 2.0
LONGEST_DELAY_S = 10 * TIMEOUT_S
LONGEST_STALL_S = 600.0


class LinkState(Enum):
    """Of a link, in both directions."""

    UP = "up"
    CUT = "cut"
    STALLED = "stalled"


@dataclass
class Rates:
    """How likely it is that something happens to a request, of 1."""

    lost: float = 0.004
    answer_lost: float = 0.004
    broken: float = 0.004
    late: float = 0.01


@dataclass(frozen=True)
class Server:
    """A node's process, for those who send it requests."""

    name: str
    life: Life
    api: PeerApi


class Network:
    """All nodes and links."""

    def __init__(self, scheduler: Scheduler, rates: Rates) -> None:
        self.scheduler = scheduler
        self.rates = rates
        self.servers: dict[str, Server] = {}
        self.requests = 0
        self._links: dict[frozenset[str], LinkState] = {}

    def link(self, one: str, other: str) -> LinkState:
        """Return the state of a link."""
        return self._links.get(frozenset({one, other}), LinkState.UP)

    def set_link(self, one: str, other: str, state: LinkState) -> None:
        """Change a link."""
        self._links[frozenset({one, other})] = state

    def heal(self) -> None:
        """Let all links be up."""
        self._links.clear()

    def held_until_up(self, one: str, other: str) -> bool:
        """Wait while a link is stalled; return True once it is up, False if it is cut or stalled for too long."""
        end_s = self.scheduler.now_s + LONGEST_STALL_S
        while self.link(one, other) is LinkState.STALLED and self.scheduler.now_s < end_s:
            self.scheduler.sleep(self.scheduler.random.uniform(0.05, 0.5))
        return self.link(one, other) is LinkState.UP


class Pool:
    """What `Peers` of one node takes for urllib3's pool manager."""

    def __init__(self, network: Network, node: str, life: Life) -> None:
        self._network = network
        self._node = node
        self._life = life

    def clear(self) -> None:
        return None

    def connection_from_url(self, url: str, pool_kwargs: dict[str, Any] | None = None) -> "Connection":
        return Connection(self, url)

    def request(
        self, method: str, url: str, body: Iterable[Any] | None = None, headers: Any = None, **_: Any
    ) -> "Answer":
        """Send a request and wait for its answer, or fail as urllib3 does."""
        network, rates = self._network, self._network.rates
        scheduler, chance = network.scheduler, network.scheduler.random.random
        network.requests += 1
        target = url.removeprefix("http://").partition(":")[0]
        server = network.servers.get(target)
        data = b"".join(bytes(part) for part in body or ())
        link = network.link(self._node, target)
        scheduler.sleep(scheduler.random.uniform(0.0005, 0.02))
        if server is None or server.life.ended or (link is LinkState.CUT and chance() < 0.5):
            raise NewConnectionError(None, "refused")  # type: ignore[arg-type]
        wake, answers = scheduler.park(TIMEOUT_S), list[Answer | Exception]()

        def deliver() -> None:
            if chance() < rates.late:
                scheduler.sleep(scheduler.random.uniform(TIMEOUT_S, LONGEST_DELAY_S))
            if chance() < rates.lost or not network.held_until_up(self._node, target):
                return
            answer = _answer(server, method, url, headers, data)
            scheduler.sleep(scheduler.random.uniform(0.0005, 0.02))
            if chance() < rates.answer_lost or network.link(self._node, target) is not LinkState.UP:
                return
            answers.append(answer)
            wake()

        scheduler.start(deliver, f"{method} to {target}", server.life)
        if chance() < rates.broken:
            scheduler.sleep(scheduler.random.uniform(0.0, 0.02))
            raise ProtocolError("Connection broken")
        scheduler.wait()
        if not answers:
            if server.life.ended:
                raise ProtocolError("Connection broken")
            raise ReadTimeoutError(None, url, "timed out")  # type: ignore[arg-type]
        [first] = answers
        assert isinstance(first, Answer)
        return first


class Connection:
    """What it takes for the connections to one node."""

    def __init__(self, pool: Pool, base: str) -> None:
        self._pool = pool
        self._base = base

    def urlopen(self, method: str, url: str, *, body: Any, headers: Any, **_: Any) -> Any:
        return self._pool.request(method, self._base + url, body, headers)


class Answer:
    """What `Peers` takes for an answer of urllib3."""

    def __init__(self, response: Response, node: str) -> None:
        self.status = response.status_code
        self.headers = HTTPHeaderDict(response.headers.items())
        self.headers[bundle_http.NODE] = node
        self._body = bytes(response.body)

    def read(self, count: int) -> bytes:
        part, self._body = self._body[:count], self._body[count:]
        return part

    def drain_conn(self) -> None:
        return None

    def close(self) -> None:
        return None

    def release_conn(self) -> None:
        return None


def _answer(server: Server, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
    address, _, query = url.partition("?")
    path = "/" + address.removeprefix("http://").partition("/")[2]
    _, _, key, *rest = path.split("/")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "path_params": {"key": key.replace("%3A", ":")},
    }
    request, api = Request(scope), server.api
    calls: dict[str, Callable[[], Response]] = {
        "GET": lambda: api.give(request),
        "HEAD": lambda: api.give(request),
        "PUT": lambda: api.take(request, body),
        "DELETE": lambda: api.remove(request),
        "POST": lambda: api.announce(request),
    }
    try:
        response = calls[method]()
        if method == "HEAD":
            response.body = b""
    except SkylarkError as error:
        response = error_answer(error)
        if method == "HEAD":
            response.body = b""
    assert not rest or rest == ["announcement"]
    return Answer(response, server.name)
