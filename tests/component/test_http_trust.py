"""Functions that run outside the proxy, held to their own chain by tokens of their invocations."""

import contextlib
import json
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from continuum import LiveNode, run_proxy
from skylark.invocation_token import Credential
from skylark_proxy.build import build
from skylark_proxy.config import Config
from taps import Tap
from wasi_http import RUNTIMES, Runtime, WasiServer

SOURCE = Path(__file__).parent / "functions" / "everything.py"
KEY = "the key of this continuum, which nobody else has"


@pytest.fixture(scope="module", params=["wasmtime", "flat"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """A component of the target http, and a module of the target wasmedge."""
    return RUNTIMES[request.param]


@pytest.fixture(scope="module")
def component(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(runtime.target) / "everything.wasm"
    return build(SOURCE, path, Config.load({}).cache_dir / "components", target=runtime.target).component


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    """A node with a key, to which everything that comes by the tap is of a pod."""
    with run_proxy(node="n1", peer_key=KEY, trusted_proxies="127.0.0.1") as running:
        yield running


@pytest.fixture
def chain() -> str:
    return f"chain-{uuid.uuid4().hex}"


@contextlib.contextmanager
def pod(runtime: Runtime, component: Path, node: LiveNode, environment: Mapping[str, str]) -> Iterator[WasiServer]:
    """A server of functions whose requests reach the node from the address of a pod."""
    tap = Tap(node.node.address, _from_a_pod)
    accepting = threading.Thread(target=tap.run)
    with tap.server:
        accepting.start()
        try:
            with runtime.serve(component, {"SKYLARK_PROXY_URL": f"http://{tap.address}", **environment}) as server:
                yield server
        finally:
            tap.server.shutdown(socket.SHUT_RDWR)
    for thread in (accepting, *tap.threads):
        thread.join(20)
        assert not thread.is_alive()


def _from_a_pod(data: bytes) -> bytes:
    """Add to the head of a request what a reverse proxy in front of the node would say."""
    begins = data.startswith((b"GET ", b"HEAD ", b"PUT ", b"DELETE "))
    return data.replace(b"\r\n", b"\r\nX-Forwarded-For: 10.1.0.9\r\n", 1) if begins else data


def token_of(name: str = "everything", chains: str = "own", key: str = KEY) -> dict[str, str]:
    return {"SKYLARK_FUNCTION_TOKEN": str(Credential.make(key.encode(), name, chains))}


def called(server: WasiServer, chain: str, call: str, key: str) -> Any:
    """The result, or the error, of a state call of a function in a chain."""
    body = {"call": call, "key": key, "arguments": {"key": key} if call == "store" else {}}
    answer = server.http.post("/functions/calls_state", params={"chain": chain}, content=json.dumps(body).encode())
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestFunctionsWithAToken:
    def test_its_own_chain(self, runtime: Runtime, component: Path, node: LiveNode, chain: str) -> None:
        """A function fetches, stores and deletes what is of its own chain; of another one it may do nothing."""
        other = f"other-{chain}"
        node.client.put_bundle(f"{other}:t1", {"f": b"1"})
        with pod(runtime, component, node, token_of()) as server:
            stored = called(server, chain, "store", f"{chain}:n1:t1")
            assert called(server, chain, "fetch", stored["key"])["fields"] == {"f": "stored"}
            assert called(server, chain, "delete", stored["key"]) is True
            for call in ("fetch", "store", "delete"):
                for key in (f"{other}:n1:t1", f"{other}:t1", f"{other}:none"):
                    result = called(server, chain, call, key)
                    assert result["raised"] == "Forbidden"
                    assert f"bundle {key!r} of another chain" in result["message"]
        assert node.held(other) == [f"{other}:n1:t1"]

    def test_a_chain_of_functions(self, runtime: Runtime, component: Path, node: LiveNode, chain: str) -> None:
        """What a function leaves, the next one of the chain gets, hosted or not."""
        with pod(runtime, component, node, token_of()) as server:
            produced = server.http.post("/functions/produce", params={"chain": chain}, content=b"1000").json()
            assert node.held(chain) == [produced["key"]]
            relayed = server.http.post("/functions/relay", params={"key": produced["key"]}, content=b"on")
            assert (relayed.status_code, relayed.content) == (200, b"on")

    def test_any_chain(self, runtime: Runtime, component: Path, node: LiveNode, chain: str) -> None:
        """With a credential for any chain it may, as the operator says."""
        with pod(runtime, component, node, token_of(chains="any")) as server:
            stored = called(server, chain, "store", f"other-{chain}:n1:t1")
            assert called(server, chain, "fetch", stored["key"])["fields"] == {"f": "stored"}


class TestFunctionsWithoutAToken:
    def test_none(self, runtime: Runtime, component: Path, node: LiveNode, chain: str) -> None:
        """A pod without a token gets what a stranger gets: health, and no state."""
        node.client.put_bundle(f"{chain}:t1", {"f": b"1"})
        with pod(runtime, component, node, {}) as server:
            assert server.http.get("/health").json()["status"] == "ready"
            result = called(server, chain, "fetch", f"{chain}:n1:t1")
            assert (result["raised"], "10.1.0.9" in result["message"]) == ("Forbidden", True)

    @pytest.mark.parametrize("wrong", ["another key", "another name", "another right"])
    def test_a_wrong_one(self, runtime: Runtime, component: Path, node: LiveNode, chain: str, wrong: str) -> None:
        """A credential that was made with another key, or changed, is none."""
        given = token_of(key=KEY if wrong != "another key" else "k" * 32)["SKYLARK_FUNCTION_TOKEN"]
        given = given.replace("everything", "other") if wrong == "another name" else given
        given = given.replace("~own~", "~any~") if wrong == "another right" else given
        with pod(runtime, component, node, {"SKYLARK_FUNCTION_TOKEN": given}) as server:
            program = {"call": "fetch", "key": f"{chain}:n1:t1", "arguments": {}}
            answer = server.http.post("/functions/calls_state", content=json.dumps(program).encode())
            assert "its token is wrong" in answer.text
            assert node.held(chain) == []
