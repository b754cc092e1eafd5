"""The ported functions of `examples/ported`, built and hosted by real nodes, and natively with the same state."""

import json
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest

from continuum import LiveNode, Nodes, check_error, line, run_nodes
from skylark.context import Request
from skylark.functions import FunctionError, Invocation, run
from skylark.http_backend import HttpBackend, Terms
from skylark_proxy.build import build
from skylark_proxy.config import Config

SOURCE = Path(__file__).parents[2] / "examples" / "ported" / "chain.py"
KB = ("0123456789" * 103)[:1024]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes that host the ported functions: sat – cloud."""
    component = tmp_path_factory.mktemp("ported") / "chain.wasm"
    build(SOURCE, component, Config.load({}).cache_dir / "components")
    with run_nodes(line("sat", "cloud"), functions=component.parent) as running:
        yield running


def call(node: LiveNode, function: str, body: object = None, **query: str) -> httpx.Response:
    content = b"" if body is None else json.dumps(body).encode()
    return node.http.post(f"/functions/{function}", content=content, params=query)


def parts(answer: httpx.Response) -> list[str]:
    """The parts of a published answer."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text.split("\t")


def held(node: LiveNode, key: str) -> dict[str, str]:
    fields, _ = node.client.get_bundle(key)
    return {name: str(value, "utf-8") for name, value in fields.items()}


def test_a_chain_of_single_states(nodes: Nodes) -> None:
    """Each function takes the last one's key and answers with its own; the state arrives where the next one runs."""
    [key] = parts(call(nodes["sat"], "write_data", {"size_kb": 1}, destination="sat"))
    chain, node, _ = key.split(":")
    assert node == "sat"
    answer = call(nodes["sat"], "preprocess", key=key, destination="cloud", policy="Skylark")
    passed_on, fetch_ms, store_ms = parts(answer)
    assert passed_on == answer.headers["skylark-key"]
    assert passed_on.split(":")[:2] == [chain, "cloud"]
    assert float(fetch_ms) >= 0
    assert float(store_ms) > 0
    assert held(nodes["cloud"], passed_on) == {"value": KB}
    assert nodes["cloud"].http.get("/state", params={"key": passed_on}).json()["value"] == KB


def test_the_predecessor_is_fetched_once(nodes: Nodes) -> None:
    """The report of an invocation has one fetch, although the function asks for the state itself."""
    [key] = parts(call(nodes["sat"], "write_data", {"size_kb": 1}))
    report = nodes["sat"].client.task(call(nodes["sat"], "preprocess", key=key).headers["skylark-task"])
    assert (len(report["fetches"]), len(report["placements"])) == (1, 1)


def test_a_single_state_is_stored_and_deleted(nodes: Nodes) -> None:
    """`single` leaves nothing behind but its predecessor."""
    [key] = parts(call(nodes["sat"], "write_data", {"size_kb": 1}, destination="sat"))
    assert len(parts(call(nodes["sat"], "single", key=key))) == 2
    assert [nodes[name].held(key.split(":")[0]) for name in ("sat", "cloud")] == [[key], []]


def test_a_bundled_state(nodes: Nodes) -> None:
    """The state of three functions travels as one bundle, with one store."""
    [key] = parts(call(nodes["sat"], "write_data", {"size_kb": 1, "count": 3}))
    answer = call(nodes["sat"], "bundled", key=key, destination="sat")
    assert held(nodes["sat"], parts(answer)[0]) == {f"bundle-child-{number}": KB for number in (1, 2, 3)}
    [placement] = nodes["sat"].client.task(answer.headers["skylark-task"])["placements"]
    assert placement["size_bytes"] == 3 * 1024


def test_two_in_one_sandbox(nodes: Nodes) -> None:
    """Ported functions can share a sandbox: each one's state is kept."""
    [key] = parts(call(nodes["sat"], "write_data", {"size_kb": 1}))
    answer = call(nodes["sat"], "preprocess+preprocess", key=key, destination="sat")
    report = nodes["sat"].client.task(answer.headers["skylark-task"])
    keys = [placement["key"] for placement in report["placements"]]
    assert len(set(keys)) == 2
    assert [held(nodes["sat"], one) for one in keys] == [{"value": KB}] * 2


def test_what_goes_wrong_is_an_error(nodes: Nodes) -> None:
    """A missing key, a bundled state where a single one is expected, and a state that is nowhere."""
    check_error(call(nodes["sat"], "preprocess"), 422, "function-failed", "key: missing")
    [key] = parts(call(nodes["sat"], "write_data", {"size_kb": 1, "count": 2}))
    check_error(call(nodes["sat"], "single", key=key), 422, "function-failed", "bundle-child-1, bundle-child-2")
    check_error(call(nodes["sat"], "single", key="no:where"), 404, "not-found", "no:where")
    check_error(call(nodes["sat"], "write_data", {"count": 0}), 422, "function-failed", "count: 0")


def test_the_same_source_natively(nodes: Nodes) -> None:
    """In plain CPython with its state at the proxy over HTTP it does the same, and the two understand each other."""
    [key] = parts(call(nodes["sat"], "write_data", {"size_kb": 1}))
    backend = HttpBackend(nodes["sat"].url)
    backend.begin(key.split(":")[0], "native-task", Terms("sat"))
    spec = spec_from_file_location("ported_chain", SOURCE)
    assert spec is not None and spec.loader is not None
    with patch.dict("skylark.functions.REGISTRY", clear=True):
        spec.loader.exec_module(module_from_spec(spec))

        def invoke(function: str, state_key: str | None) -> str:
            chain = key.split(":")[0]
            request = Request(memoryview(b""))
            response = run(Invocation((function,), chain, "native-task", "sat", request, state_key), backend).response
            assert response is not None
            return bytes(response.body).decode().split("\t")[0]

        passed_on = invoke("preprocess", key)
        with pytest.raises(FunctionError, match="key: missing"):
            invoke("single", None)
    backend.close()
    assert passed_on == f"{key.split(':')[0]}:sat:native-task"
    assert parts(call(nodes["sat"], "preprocess", key=passed_on))[0] != passed_on
    assert held(nodes["sat"], passed_on) == {"value": KB}
