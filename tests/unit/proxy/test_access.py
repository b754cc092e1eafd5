"""Who may ask what of a node that shares a key with others, and how many may ask at once."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from starlette.types import Message, Receive, Scope, Send

from skylark.invocation_token import Credential
from skylark_proxy.api.access import Access, Trust
from skylark_proxy.api.in_flight import InFlight
from skylark_proxy.api.rights import route_of_proxy
from skylark_proxy.errors import SkylarkError
from skylark_proxy.signatures import BOOT, Signer, Verifier

KEY = b"k" * 32
NOW_S = 1_760_000_000.0
NODE = ("10.0.0.5", 30002)
BOOT_ID = "b" * 32
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads a body and answers with it."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(
    app: App,
    method: str,
    target: str,
    *,
    client: tuple[str, int] | None = ("203.0.113.7", 1),
    server: tuple[str, int] = NODE,
    headers: dict[str, str] | None = None,
    body: Sequence[bytes] = (b"",),
) -> tuple[int, Any, int]:
    """Sends a request; returns the status, the error's code or the body, and how many parts of the body were read."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": client,
        "server": server,
    }
    parts, sent = list(body), []

    async def receive() -> Message:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(_finished(app(scope, receive, send)))
    content = b"".join(message.get("body", b"") for message in sent)
    status = sent[0]["status"]
    return status, content if status == 200 else msgspec.json.decode(content)["error"], len(body) - len(parts)


def answered(app: App, method: str, target: str, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers of the answer to a request without a body."""
    found: list[tuple[bytes, bytes]] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            found.extend(message.get("headers", ()))
            await send(message)

        await app(scope, receive, note)

    ask(noting, method, target, headers=headers)
    return found


async def _finished(call: Awaitable[None]) -> None:
    await call


def guarded(*networks: str, proxies: Sequence[str] = (), hosts: Sequence[str] = (), key: bytes | None = KEY) -> Access:
    trust = Trust(
        verifier=Verifier(key, 300, new_boot=lambda: BOOT_ID) if key is not None else None,
        local_networks=[ip_network(text) for text in networks],
        trusted_proxies=[ip_network(text) for text in proxies],
        hosts=lambda: hosts,
        clock=lambda: NOW_S,
    )
    return Access(reader, trust, route_of_proxy)


def signed(method: str, target: str, body: bytes = b"", key: bytes = KEY) -> dict[str, str]:
    return Signer(key, "sat").headers(method, target, {BOOT: BOOT_ID}, [body], NOW_S, b"n" * 16)


class TestThisNode:
    @pytest.mark.parametrize(
        ("client", "server", "allowed"),
        [
            (("127.0.0.1", 1), NODE, True),
            (("127.8.8.8", 1), NODE, True),
            (("::1", 1), ("::", 30002), True),
            (("::ffff:127.0.0.1", 1), NODE, True),
            (("10.0.0.5", 1), NODE, True),
            (("::ffff:10.0.0.5", 1), NODE, True),
            (None, NODE, True),
            (("10.42.0.9", 1), NODE, True),
            (("10.43.0.9", 1), NODE, False),
            (("10.0.0.6", 1), NODE, False),
            (("2001:db8::1", 1), ("2001:db8::2", 30002), False),
            (("unknown", 1), NODE, False),
        ],
    )
    def test_addresses(self, client: tuple[str, int] | None, server: tuple[str, int], allowed: bool) -> None:
        """Loopback, the node's own address, a unix socket and the operator's networks are this node; others are not."""
        status, answer, _ = ask(guarded("10.42.0.0/24", "fd00::/8"), "GET", "/bundles", client=client, server=server)
        assert status == (200 if allowed else 403)
        if not allowed:
            assert answer["code"] == "forbidden"
            assert f"'/bundles' from {client[0] if client else None}" in answer["message"]
            assert "/functions" in answer["message"]

    def test_what_everybody_may(self) -> None:
        """A function is invoked by whoever reaches the node."""
        assert ask(guarded(), "POST", "/functions/f", body=[b"in"])[:2] == (200, b"in")


class TestSignedRequests:
    TARGET = "/bundles/c%3Acloud%3At?scope=local"

    @pytest.mark.parametrize("client", ["203.0.113.7", "127.0.0.1"])
    def test_without_a_signature(self, client: str) -> None:
        """One that is not signed, from wherever it comes, is refused before any of its body is read."""
        status, error, read = ask(guarded(), "PUT", self.TARGET, client=(client, 1), body=[b"a", b"b"])
        assert (status, error["code"], error["retryable"], read) == (401, "unauthorized", False, 0)

    def test_with_one(self) -> None:
        """One that is signed is passed on with its body, from wherever it comes, and only once."""
        app, headers = guarded(), signed("PUT", self.TARGET, b"abc")
        assert ask(app, "PUT", self.TARGET, headers=headers, body=[b"a", b"b", b"c"])[:2] == (200, b"abc")
        status, error, read = ask(app, "PUT", self.TARGET, headers=headers, body=[b"a", b"b", b"c"])
        assert (status, "sent before" in error["message"], read) == (401, True, 0)

    @pytest.mark.parametrize("body", [[b"a", b"b", b"d"], [b"ab"], [b"abcd"], [b""], [b"abc", b"d"]])
    def test_another_body(self, body: list[bytes]) -> None:
        """Whoever reads a body that is not the signed one gets an error with its last part, never the whole."""
        with pytest.raises(SkylarkError, match="its body is not the one that was signed"):
            ask(guarded(), "PUT", self.TARGET, headers=signed("PUT", self.TARGET, b"abc"), body=body)

    @pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
    def test_a_body_where_there_is_none(self, method: str) -> None:
        """A request whose method has no body is not signed with one."""
        headers = signed(method, self.TARGET, b"abc")
        assert ask(guarded(), method, self.TARGET, headers=headers, body=[b"abc"])[0] == 401
        assert ask(guarded(), method, self.TARGET, headers=signed(method, self.TARGET))[0] == 200

    def test_a_header_twice(self) -> None:
        """A header that is there twice is not the one that was signed, whichever of them a reader would take."""
        headers = signed("GET", self.TARGET)
        app = guarded()

        async def doubled(scope: Scope, receive: Receive, send: Send) -> None:
            scope["headers"].append((b"content-digest", headers["content-digest"].encode()))
            await app(scope, receive, send)

        assert ask(doubled, "GET", self.TARGET, headers=headers)[0] == 401


class TestInvocations:
    TOKEN = Credential.make(KEY, "f", "own").token("c", "t", NOW_S)

    @pytest.mark.parametrize(
        ("method", "target", "status"),
        [
            ("GET", "/bundles/c:n:t", 200),
            ("PUT", "/bundles/c:t2", 200),
            ("DELETE", "/bundles/c:n:t?write=x", 200),
            ("GET", "/bundles/other:n:t", 403),
            ("PUT", "/bundles/cc:t2", 403),
            ("GET", "/bundles/:t2", 403),
            ("GET", "/bundles?chain=c", 403),
            ("POST", "/save/sat", 403),
            ("GET", "/state?key=c:t", 403),
            ("POST", "/refresh", 403),
            ("GET", "/bundles/c:n:t?scope=local", 401),
            ("POST", "/bundles/c:n:t/announcement", 401),
            ("POST", "/functions/f", 200),
        ],
    )
    @pytest.mark.parametrize("client", ["203.0.113.7", "127.0.0.1"])
    def test_what_a_token_is_good_for(self, method: str, target: str, status: int, client: str) -> None:
        """A token opens the bundles of its chain, from wherever it comes, and holds who has it to them on the node."""
        headers = {"Authorization": f"Bearer {self.TOKEN}"}
        assert ask(guarded(), method, target, client=(client, 1), headers=headers)[0] == status

    @pytest.mark.parametrize(
        ("chains", "seen", "status"),
        [
            ("own", "c:n:t=5", 200),
            ("own", "c:n:t=5, c:m:u=6", 200),
            ("own", "d:n:t=5", 403),
            ("own", "c:n:t=5,d:n:t=9007199254740991", 403),
            ("own", "c:n:t=5, d:n:t=6", 403),
            ("own", "", 403),
            ("any", "c:n:t=5,d:n:t=6", 200),
        ],
    )
    def test_what_an_invocation_may_have_seen(self, chains: str, seen: str, status: int) -> None:
        """A function of another chain that made up a version would keep its readers from a bundle."""
        token = Credential.make(KEY, "f", chains).token("c", "t", NOW_S)
        headers = {"Authorization": f"Bearer {token}", "Skylark-Seen": seen}
        assert ask(guarded(), "PUT", "/bundles/c:t2", headers=headers)[0] == status

    def test_one_that_is_wrong(self) -> None:
        """A wrong token is refused also from this node; functions are invoked with whatever they want to be told."""
        headers = {"Authorization": f"Bearer {self.TOKEN[:-1]}"}
        client = ("127.0.0.1", 1)
        assert ask(guarded(), "GET", "/bundles/c:t", client=client, headers=headers)[0] == 401
        assert ask(guarded(), "POST", "/functions/f", client=client, headers=headers)[0] == 200


class TestBootIds:
    TARGET = "/bundles/c%3Acloud%3At?scope=local"

    @pytest.mark.parametrize(
        ("method", "target", "headers", "told"),
        [
            ("GET", "/health/liveness", {}, True),
            ("PUT", TARGET, {"Signature": "x"}, True),
            ("PUT", TARGET, signed("PUT", TARGET), True),
            ("PUT", TARGET, {}, False),
            ("POST", "/functions/f", {}, False),
        ],
    )
    def test_who_is_told(self, method: str, target: str, headers: dict[str, str], told: bool) -> None:
        """Whoever signs, or asks for the node's health, is told for which start of the node to sign."""
        found = {name.decode(): value.decode() for name, value in answered(guarded(), method, target, headers)}
        assert found.get("skylark-boot") == (BOOT_ID if told else None)

    def test_a_node_without_a_key(self) -> None:
        """A node without a key asks for no signature, and tells nothing."""
        headers = {"Signature": "x"}
        assert b"skylark-boot" not in dict(answered(guarded(key=None), "PUT", self.TARGET, headers))


class TestPages:
    ELSEWHERE = "http://evil.example"

    @pytest.mark.parametrize("key", [KEY, None])
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    @pytest.mark.parametrize("path", ["/functions/f", "/bundles/c:t", "/save/sat", "/what-comes-later"])
    def test_acting(self, key: bytes | None, method: str, path: str) -> None:
        """A page of another origin may do nothing, whether or not there is a key, before any of its body is read."""
        for headers in ({"Origin": self.ELSEWHERE}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            status, error, read = ask(
                guarded(key=key), method, path, client=("127.0.0.1", 1), headers={"Host": "127.0.0.1"} | headers
            )
            assert (status, error["code"], read) == (403, "forbidden", 0)
            assert "page of another origin" in error["message"]

    @pytest.mark.parametrize(
        ("path", "status"), [("/health", 200), ("/functions", 200), ("/bundles/c:t", 403), ("/refresh", 403)]
    )
    def test_reading(self, path: str, status: int) -> None:
        """A page may read what is for everybody, but neither state nor what acts although it is read."""
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert ask(guarded(key=None), "GET", path, client=("127.0.0.1", 1), headers=headers)[0] == status

    @pytest.mark.parametrize("key", [KEY, None])
    def test_a_name_that_was_rebound(self, key: bytes | None) -> None:
        """A request for a host that the node does not have is refused, and the error names the setting."""
        headers = {"Host": "evil.example:30002"}
        status, error, _ = ask(guarded(key=key, hosts=["sat1"]), "GET", "/health", headers=headers)
        assert (status, error["code"]) == (403, "forbidden")
        assert "'evil.example:30002'" in error["message"] and "SKYLARK_ALLOWED_HOSTS" in error["message"]
        assert ask(guarded(key=key, hosts=["sat1"]), "GET", "/health", headers={"Host": "SAT1:30002"})[0] == 200

    def test_a_signed_request(self) -> None:
        """What is signed is no page's, whatever name the sender has for the node."""
        target = "/bundles/c%3Acloud%3At?scope=local"
        headers = signed("PUT", target) | {"Host": "far.example", "Origin": "null"}
        assert ask(guarded(), "PUT", target, headers=headers)[0] == 200


class TestReverseProxies:
    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto"])
    def test_one_that_is_not_named(self, header: str) -> None:
        """Whom nobody trusts forwards for strangers, also from the node's own address; the error says what to do."""
        for client in (("127.0.0.1", 1), NODE, None):
            status, error, _ = ask(guarded(), "GET", "/bundles", client=client, headers={header: "127.0.0.1"})
            assert (status, error["code"]) == (403, "forbidden")
            assert f"{header.lower()}: 127.0.0.1" in error["message"]

    @pytest.mark.parametrize(
        ("forwarded", "status"), [("203.0.113.7", 403), ("127.0.0.1, 203.0.113.7", 403), ("127.0.0.1", 200)]
    )
    def test_one_that_is_named(self, forwarded: str, status: int) -> None:
        """What a trusted proxy saw counts, and not what its client has written before it."""
        app, headers = guarded(proxies=["10.0.0.5/32"]), {"X-Forwarded-For": forwarded}
        assert ask(app, "GET", "/bundles", client=("10.0.0.5", 1), headers=headers)[0] == status


class TestInFlight:
    def test_the_limit(self) -> None:
        """At the limit a request is refused and may be repeated; health is answered; whoever ends makes room."""

        async def run() -> None:
            started, go_on = asyncio.Semaphore(0), asyncio.Event()

            async def waits(scope: Scope, receive: Receive, send: Send) -> None:
                started.release()
                await go_on.wait()
                if scope["path"] == "/fails":
                    raise ZeroDivisionError

            app = InFlight(waits, 2)
            running = [asyncio.create_task(_sent(app, path)) for path in ("/functions", "/fails")]
            for _ in running:
                await started.acquire()
            refused = await _sent(app, "/functions")
            assert (refused[0]["status"], dict(refused[0]["headers"])[b"retry-after"]) == (429, b"1")
            error = msgspec.json.decode(refused[1]["body"])["error"]
            assert (error["code"], error["in_flight"], error["limit"]) == ("too-many-requests", 2, 2)
            assert error["retryable"] is True
            go_on.set()
            assert await _sent(app, "/health/liveness") == []
            await asyncio.wait(running)
            assert isinstance(running[1].exception(), ZeroDivisionError)
            assert await _sent(app, "/functions") == []

        asyncio.run(run())


def _sent(app: App, path: str) -> Coroutine[Any, Any, list[Message]]:
    async def run() -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            sent.append(message)

        await app({"type": "http", "path": path, "method": "GET", "query_string": b"", "headers": []}, receive, send)
        return sent

    return run()
