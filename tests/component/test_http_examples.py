"""The examples as components that are servers, each function a server of its own, beside the same functions hosted."""

import importlib.util
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from continuum import LiveNode, Nodes, check_error, four_nodes, run_nodes
from skylark_proxy.build import build
from skylark_proxy.config import Config
from wasi_http import RUNTIMES

EXAMPLES = Path(__file__).parents[2] / "examples"
FIRE = {name: EXAMPLES / "fire_detection" / f"{name}.py" for name in ("preprocess", "detect", "alarm")}
SOURCES = FIRE | {"chain": EXAMPLES / "ported" / "chain.py"}
PLACES = {"preprocess": "sat1", "detect": "sat2", "alarm": "cloud1", "chain": "sat1"}
"""The nodes that the functions run at."""

Servers = Mapping[str, httpx.Client]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """The four nodes of the examples, which host the fire alarm: sat1 – sat2 – sat3 – cloud1."""
    folder, cache = tmp_path_factory.mktemp("hosted"), Config.load({}).cache_dir / "components"
    for name, source in FIRE.items():
        build(source, folder / f"{name}.wasm", cache)
    with run_nodes(four_nodes(), functions=folder) as running:
        yield running


@pytest.fixture(scope="module", params=list(RUNTIMES))
def servers(
    request: pytest.FixtureRequest, nodes: Nodes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """A server for each source, on a runtime of its own, beside the proxy of its node."""
    folder, cache = tmp_path_factory.mktemp("servers"), Config.load({}).cache_dir / "components"
    runtime = RUNTIMES[request.param]
    with ExitStack() as stack:
        running = {}
        for name, source in SOURCES.items():
            component = build(source, folder / f"{name}.wasm", cache, target=runtime.target).component
            settings = {"SKYLARK_PROXY_URL": nodes[PLACES[name]].url}
            running[name] = stack.enter_context(runtime.serve(component, settings)).http
        yield running


@pytest.fixture(scope="module")
def picture() -> bytes:
    """The photograph of the demo, as its client encodes it."""
    client = module(EXAMPLES / "fire_detection" / "picture.py")
    encoded: bytes = client.encode_png(client.sample_photograph())
    return encoded


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def fields(node: LiveNode, key: str) -> dict[str, bytes]:
    found, _ = node.client.get_bundle(key)
    return {name: bytes(value) for name, value in found.items()}


class TestFireAlarm:
    def test_the_same_alarm_as_hosted(self, servers: Servers, nodes: Nodes, picture: bytes) -> None:
        """The bundles between the functions are the same bytes, and the alarm differs in its task and time only."""
        http = self._run(picture, nodes, lambda name, **sent: servers[name].post("/", **sent))
        hosted = self._run(picture, nodes, lambda name, **sent: self._hosted(nodes, name, **sent))
        assert http["bundles"] == hosted["bundles"]
        assert http["placed"] == hosted["placed"] == ["sat2", "cloud1", "cloud1"]
        assert http["event"] == hosted["event"]
        assert http["event"]["data"]["alarm"] is True
        assert len(http["event"]["data"]["spots"]) == 6

    def test_a_chain_over_both(self, servers: Servers, nodes: Nodes, picture: bytes) -> None:
        """A function hosted by a node goes on with what an http component left, and the other way round."""
        first = servers["preprocess"].post("/process", content=picture, params={"destination": "sat2"})
        second = nodes["sat2"].http.post("/functions/detect", params={"key": first.headers["skylark-key"]})
        third = servers["alarm"].get("/", params={"key": second.headers["skylark-key"]})
        assert third.headers["content-type"] == "application/cloudevents+json"
        assert third.json()["type"] == "io.skylark.fire.alarm"
        assert third.json()["data"]["node"] == "cloud1"

    @staticmethod
    def _hosted(nodes: Nodes, name: str, **sent: Any) -> httpx.Response:
        return nodes[PLACES[name]].http.post(f"/functions/{name}", **sent)

    @staticmethod
    def _run(picture: bytes, nodes: Nodes, call: Any) -> dict[str, Any]:
        chain, key, bundles, placed = uuid.uuid4().hex, None, [], []
        for name, destination in (("preprocess", "sat2"), ("detect", "cloud1"), ("alarm", "cloud1")):
            params = {"destination": destination, "policy": "stateless"} | ({"key": key} if key else {"chain": chain})
            answer = call(name, content=picture if key is None else b"", params=params)
            assert answer.status_code == 200, answer.text
            key = answer.headers["skylark-key"]
            placed.append(key.split(":")[1])
            bundles.append(fields(nodes[placed[-1]], key))
        event = answer.json()
        assert event.pop("id") == f"{chain}:{answer.headers['skylark-task']}"
        assert bundles.pop() == {"alarm": answer.content}
        event.pop("time")
        for own in ("chain_id", "task_id"):
            event["data"].pop(own)
        return {"bundles": bundles, "placed": placed, "event": event}


class TestPorted:
    def test_a_chain_of_single_states(self, servers: Servers, nodes: Nodes) -> None:
        """Each function takes the last one's key from the query, and answers with its own, as the published ones."""
        [key] = self._parts(servers["chain"].post("/", content=b'{"size_kb": 1}', params={"destination": "sat1"}))
        node = nodes["sat1"]
        answer = servers["chain"].post("/functions/preprocess", params={"key": key, "destination": "sat1"})
        passed_on, fetch_ms, store_ms = self._parts(answer)
        assert passed_on == answer.headers["skylark-key"]
        assert float(fetch_ms) >= 0
        assert float(store_ms) > 0
        assert fields(node, passed_on) == fields(node, key) == {"value": (b"0123456789" * 103)[:1024]}

    def test_a_bundled_state(self, servers: Servers, nodes: Nodes) -> None:
        """The state of three functions travels as one bundle, with one fetch and one store."""
        body = json.dumps({"size_kb": 1, "count": 3}).encode()
        [key] = self._parts(servers["chain"].post("/process", content=body))
        answer = servers["chain"].post("/functions/bundled", params={"key": key, "destination": "sat1"})
        assert set(fields(nodes["sat1"], self._parts(answer)[0])) == {f"bundle-child-{number}" for number in (1, 2, 3)}

    def test_what_goes_wrong_is_an_error(self, servers: Servers) -> None:
        """A missing key, and a state that is nowhere."""
        check_error(servers["chain"].post("/functions/preprocess"), 422, "function-failed", "key: missing")
        gone = servers["chain"].post("/functions/single", params={"key": "no:where"})
        check_error(gone, 404, "not-found", "no:where")

    @staticmethod
    def _parts(answer: httpx.Response) -> list[str]:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/plain")
        return answer.text.split("\t")
