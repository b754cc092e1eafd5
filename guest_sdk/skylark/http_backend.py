"""State over HTTP: how a function that runs outside the proxy's sandbox reaches its node's proxy."""

import contextlib
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from skylark import errors, wire
from skylark.http_transport import KeptConnection, Reply, Transport
from skylark.invocation_token import Credential
from skylark.plan import Plan
from skylark.session import Session, parse_seen, seen_header
from skylark.state import Ack, Bundle, Placement, Policy, Read, Staleness, Stored

DEFAULT_URL = "http://127.0.0.1:30002"


@dataclass(frozen=True)
class Terms:
    """What an invocation's stores take where they say nothing, and how its chain goes on.

    Attributes:
        plan: The chain's plan; None: that of the predecessor's bundle, `state_key`.
        function: The last one of the invocation; the plan says what follows it.
    """

    destination: str | None = None
    policy: Policy | None = None
    ttl_ms: int | None = None
    ack: Ack | None = None
    plan: Plan | None = None
    state_key: str | None = None
    function: str = ""


@dataclass
class Ledger:
    """What the state calls of an invocation did, as the members of the proxy's reports."""

    fetches: list[dict[str, Any]] = field(default_factory=list)
    placements: list[dict[str, Any]] = field(default_factory=list)
    retrieval_ms: float = 0.0
    """T(dr), of all fetches."""
    migration_ms: float = 0.0
    """T(dm), of all stores."""


@dataclass(frozen=True)
class Refusal:
    """A request that the proxy refused: the error that the function got, and the answer that it was made of."""

    error: errors.SkylarkError
    status: int
    details: Mapping[str, Any]
    """The `error` of the answer."""


class HttpBackend:
    """State at a proxy, for one invocation after the other.

    Args:
        url: The proxy, `http://host:port`.
        timeout_s: How long the proxy may send nothing.
        transport: How requests travel; None: over a connection of plain CPython.
        credential: The function's, of which each request for state carries a token; None: it has none.

    Raises:
        ValueError: `url` is not such a URL.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout_s: float = 60.0,
        transport: Transport | None = None,
        credential: Credential | None = None,
    ) -> None:
        host, port = parse_url(url)
        self._transport = transport or KeptConnection(url, host, port, timeout_s)
        self._url = url
        self._credential = credential
        self._invocation = ("", "")
        self._terms = Terms()
        self._plan: Plan | None = None
        self._session = Session()
        self._knows_predecessor = True
        self.ledger = Ledger()
        self.refusal: Refusal | None = None
        """The last call's, if the proxy refused it."""

    def begin(self, chain_id: str, task_id: str, terms: Terms | None = None) -> None:
        """Begins an invocation."""
        self._invocation, self._terms = (chain_id, task_id), terms or Terms()
        self._plan, self.ledger, self.refusal = self._terms.plan, Ledger(), None
        self._session = Session(self._terms.state_key)
        self._knows_predecessor = self._terms.state_key is None

    def close(self) -> None:
        """Closes the connection; the next call opens it anew."""
        self._transport.close()

    def fetch(self, key: str, fields: Collection[str], read: Read = Read.NEAREST, min_version: int = 0) -> Bundle:
        """See `State.fetch`."""
        started = time.perf_counter()
        if key != self._terms.state_key:
            self._look_at_predecessor()
        wanted = {"fields": ",".join(fields) or None, "read": None if read is Read.NEAREST else read.value}
        reply = self._read("GET", key, wanted, min_version)
        with self._of_a_proxy():
            owned, version = _owned(reply), _version(reply)
        if owned is not None and version < self._session.version(owned):  # possible only if the key names no owner
            reply = self._read("GET", owned, wanted, min_version)
        with self._of_a_proxy():
            bundle = _bundle(reply)
        self._see(key, reply)
        duration_ms = 1000 * (time.perf_counter() - started)
        self.ledger.retrieval_ms += duration_ms
        self.ledger.fetches.append(_fetched(bundle, reply, duration_ms))
        return bundle

    def store(self, fields: Mapping[str, wire.Buffer], placement: Placement) -> Stored:
        """See `State.store`."""
        started = time.perf_counter()
        self._look_at_predecessor()
        body = wire.encode(fields)
        headers = self._conditions(placement) | {"Content-Length": str(sum(map(len, body)))}
        key = placement.key or ":".join(self._invocation)
        reply = self._request("PUT", key, self._placing(placement), headers, list(wire.joined(body)))
        with self._of_a_proxy():
            stored = Stored(reply.headers["skylark-key"], _version(reply))
            placed = json.loads(bytes(reply.body))
        if placement.key is not None:
            self._session.note(stored.key, stored.version)
        self.ledger.migration_ms += 1000 * (time.perf_counter() - started)
        self.ledger.placements.append(placed)
        return stored

    def delete(self, key: str) -> bool:
        """See `State.delete`."""
        try:
            reply = self._request("DELETE", key)
        except errors.NotFound:
            return False
        with self._of_a_proxy():
            if reply.status != 204:
                raise ValueError(f"status {reply.status}")
            if "skylark-owner" in reply.headers:
                owned = _key_at(key, reply.headers["skylark-owner"])
                self._session.note(owned, int(reply.headers["skylark-deleted-version"]))
        return True

    def node(self) -> str:
        """The name of the proxy's node.

        Raises:
            Unavailable: The proxy cannot be reached.
        """
        reply = self._exchange("GET", "/health/readiness", {}, ())
        with self._of_a_proxy():
            return str(json.loads(bytes(reply.body))["node"])

    def _read(self, method: str, key: str, wanted: Mapping[str, object], min_version: int = 0) -> Reply:
        """Ask for a bundle that is no older than what the chain has seen."""
        floor = max(min_version, self._session.version(key))
        return self._request(method, key, {**wanted, "min_version": floor or None})

    def _look_at_predecessor(self) -> None:
        """Take from the predecessor what travels with a chain, where its bundle was not fetched.

        It is asked for once. Where it cannot be had, the chain goes on without it.
        """
        key = self._terms.state_key
        if key is None or self._knows_predecessor:
            return
        self._knows_predecessor = True
        with contextlib.suppress(errors.SkylarkError):
            self._see(key, self._read("HEAD", key, {}))

    def _see(self, key: str, reply: Reply) -> None:
        """Remember the versions of a bundle that was read, and of those that its chain had seen."""
        with self._of_a_proxy():
            for other, version in parse_seen(reply.headers.get("skylark-seen", "")).items():
                self._session.note(other, version)
            if (owned := _owned(reply)) is not None:
                self._session.note_read(owned, _version(reply))
            if key == self._terms.state_key:
                self._knows_predecessor = True
                if self._plan is None and "skylark-plan" in reply.headers:
                    self._plan = Plan.parse(reply.headers["skylark-plan"])

    def _note_error(self, key: str, details: Mapping[str, Any]) -> None:
        """Remember the version of which an error tells: that of a deletion, or the one that was not expected."""
        told = details.get("deleted_version") or details.get("actual")
        if isinstance(told, int):
            self._session.note(key, told)

    def _may_tell(self, key: str) -> bool:
        """True if the versions of a bundle may be told the proxy: with a token, not those of another chain."""
        own = self._credential is not None and self._credential.chains == "own"
        return not own or key.partition(":")[0] == self._invocation[0]

    def _placing(self, placement: Placement) -> dict[str, object]:
        """The parameters of a store: its own, else those of the plan, else those of the invocation."""
        following = self._plan.after(self._terms.function) if self._plan else ()
        planned = following[0].node if following else None
        policy, ack = placement.policy or self._terms.policy, placement.ack or self._terms.ack
        return {
            "destination": placement.destination or planned or self._terms.destination,
            "policy": policy.value if policy else None,
            "ttl_ms": placement.ttl_ms if placement.ttl_ms is not None else self._terms.ttl_ms,
            "ack": ack.value if ack else None,
        }

    def _conditions(self, placement: Placement) -> dict[str, str]:
        headers = {"Content-Type": wire.MEDIA_TYPE}
        if self._plan is not None:
            headers["Skylark-Plan"] = str(self._plan)
        seen = {key: version for key, version in self._session.versions.items() if self._may_tell(key)}
        if seen:
            headers["Skylark-Seen"] = seen_header(seen)
        if placement.expected_version is None:
            return headers
        version = placement.expected_version
        return headers | ({"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"})

    @contextlib.contextmanager
    def _of_a_proxy(self) -> Iterator[None]:
        """What is read in this context is missing where somebody else answers at the URL."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            raise errors.Internal(f"what answers at {self._url} is no proxy: {error!r}") from error

    def _request(
        self,
        method: str,
        key: str,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sequence[wire.Buffer] = (),
    ) -> Reply:
        given = urlencode({name: value for name, value in (query or {}).items() if value is not None})
        path = f"/bundles/{quote(key)}" + (f"?{given}" if given else "")
        try:
            return self._exchange(method, path, {**(headers or {}), **self._authorization()}, body)
        except (errors.NotFound, errors.Conflict):
            if self.refusal is not None:
                self._note_error(key, self.refusal.details)
            raise

    def _authorization(self) -> dict[str, str]:
        if self._credential is None:
            return {}
        return {"Authorization": f"Bearer {self._credential.token(*self._invocation, time.time())}"}

    def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: Sequence[wire.Buffer]) -> Reply:
        self.refusal = None
        try:
            reply = self._transport.exchange(method, path, headers, body)
        except errors.SkylarkError as error:
            details = {"code": error.code, "message": str(error), "retryable": error.retryable}
            self.refusal = Refusal(error, 504 if isinstance(error, errors.TimedOut) else 503, details)
            raise
        if reply.status >= 400:
            self.refusal = _refusal(reply)
            raise self.refusal.error
        return reply


def parse_url(url: str) -> tuple[str, int]:
    """The host and port of a proxy's URL.

    Raises:
        ValueError: It is not `http://host:port`.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"the proxy's URL {url!r} is not http://host:port")
    return parts.hostname, parts.port or 80


def _bundle(reply: Reply) -> Bundle:
    stale = reply.headers.get("skylark-stale")
    return Bundle(
        {name: view.toreadonly() for name, view in wire.decode(reply.body).items()},
        key=reply.headers["skylark-key"],
        version=_version(reply),
        origin=reply.headers["skylark-origin"],
        hops=int(reply.headers["skylark-hops"]),
        age_ms=int(reply.headers["skylark-age-ms"]) if "skylark-age-ms" in reply.headers else None,
        stale=None if stale is None else Staleness(stale),
    )


def _owned(reply: Reply) -> str | None:
    """The key with the bundle's owner; None if it has none."""
    return reply.headers["skylark-key"] if "skylark-owner" in reply.headers else None


def _key_at(key: str, node: str) -> str:
    return f"{key.partition(':')[0]}:{node}:{key.rpartition(':')[2]}"


def _version(reply: Reply) -> int:
    return int(reply.headers["etag"].strip('"'))


def _fetched(bundle: Bundle, reply: Reply, duration_ms: float) -> dict[str, Any]:
    return {
        "key": bundle.key,
        "version": bundle.version,
        "served_by": reply.headers.get("skylark-served-by"),
        "age_ms": bundle.age_ms,
        "stale": None if bundle.stale is None else bundle.stale.value,
        "hops": bundle.hops,
        "size_bytes": sum(map(len, bundle.values())),
        "duration_ms": round(duration_ms, 3),
    }


def _refusal(reply: Reply) -> Refusal:
    """The error of the proxy's answer `{"error": {…}}`."""
    try:
        details: dict[str, Any] = json.loads(bytes(reply.body))["error"]
        return Refusal(_error(reply.status, details), reply.status, details)
    except (ValueError, KeyError, TypeError):
        error = errors.Internal(f"the proxy answered with status {reply.status}")
        return Refusal(error, 500, {"code": error.code, "message": str(error), "retryable": False})


def _error(status: int, details: Mapping[str, Any]) -> errors.SkylarkError:
    code, message = str(details["code"]), str(details["message"])
    if code == errors.Conflict.code:
        return errors.Conflict(int(details["expected"]), int(details["actual"]))
    if code == errors.TooLarge.code:
        return errors.TooLarge(int(details["size_bytes"]), int(details["limit_bytes"]))
    fallback = errors.Unavailable if details.get("retryable") else errors.InvalidArgument
    return errors.BY_CODE.get(code, fallback if status < 500 or status == 503 else errors.Internal)(message)
