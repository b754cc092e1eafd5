"""The node-info service and the proxies that follow it, as processes of their own."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
from starlette.routing import Route

from continuum import TOPOLOGIES, LiveNode, check_error, line, read_answer, run_nodes, run_proxy, send_raw
from node_infos import LiveNodeInfo, run_node_info
from servers import free_port, wait_for
from skylark_proxy.model import Objectives
from skylark_proxy.nodeinfo.api import create_node_info_app
from skylark_proxy.nodeinfo.measured import MeasuredTopology, Mixing
from skylark_proxy.nodeinfo.openapi import description
from skylark_proxy.nodeinfo.provider import FileTopology
from skylark_proxy.nodeinfo.service import Bell, NodeInfo
from skylark_proxy.topology import Topology, load_topology

FOUR_NODES = TOPOLOGIES / "four-nodes.json"
CONSTELLATION = TOPOLOGIES / "constellation.json"
A_DAY = 86_400


@pytest.fixture(scope="module")
def static() -> Iterator[LiveNodeInfo]:
    """A service of the four nodes of the examples."""
    with run_node_info("--topology", FOUR_NODES, "--node", "sat2", "--max-latency-ms", 25) as live:
        yield live


@pytest.fixture(scope="module")
def rotating() -> Iterator[LiveNodeInfo]:
    """A service of the constellation, whose turns last a day."""
    with run_node_info("--provider", "rotating", "--topology", CONSTELLATION, "--interval-s", A_DAY) as live:
        yield live


@pytest.fixture(scope="module")
def drawn() -> Iterator[LiveNodeInfo]:
    """A service of random links between four nodes, drawn once a day."""
    options = ("--provider", "random", "--topology", FOUR_NODES, "--interval-s", A_DAY, "--seed", 7)
    with run_node_info(*options) as live:
        yield live


@pytest.fixture
def topology_file(tmp_path: Path) -> Path:
    """A topology of two nodes that a test changes."""
    path = tmp_path / "topology.json"
    path.write_bytes(line("alone", "cloud").to_json())
    return path


@pytest.fixture
def live(topology_file: Path) -> Iterator[LiveNodeInfo]:
    """A service of the file."""
    with run_node_info("--topology", topology_file, "--node", "alone") as service:
        yield service


def set_latency(path: Path, latency_ms: float) -> None:
    """Changes the latency of all links of a topology file."""
    document = json.loads(path.read_bytes())
    for edge in document["edges"]:
        edge["latency"] = latency_ms
    path.write_text(json.dumps(document))


def in_background(call: Callable[[], Any]) -> Future[Any]:
    """Runs a call in a thread that has begun to run."""
    begun = threading.Event()

    def run() -> Any:
        begun.set()
        return call()

    with_thread = ThreadPoolExecutor(1)
    future = with_thread.submit(run)
    with_thread.shutdown(wait=False)
    assert begun.wait(10)
    return future


class TestNodes:
    def test_local_and_cloud_node(self, static: LiveNodeInfo) -> None:
        """The service's own node, and the first cloud node, under their published names."""
        assert static.get("/local-node-info") == {
            "node_name": "sat2",
            "node_ip": "127.0.0.13",
            "node_type": "Sat",
        }
        assert static.get("/cloud-node-info")["node_name"] == "cloud1"

    def test_a_node_that_is_not_there_is_404(self, rotating: LiveNodeInfo) -> None:
        """A service on a host that the topology does not know says which it knows."""
        check_error(rotating.http.get("/local-node-info"), 404, "unknown-node", "pi5u1")

    def test_without_a_cloud_there_is_no_cloud_node(self, tmp_path: Path) -> None:
        """A topology without a cloud node has no `cloud-node-info`."""
        (tmp_path / "t.json").write_text(
            '{"edges": [], "nodes": [{"node_name": "a", "node_ip": "127.0.0.1", "node_type": "Sat"}]}'
        )
        with run_node_info("--topology", tmp_path / "t.json", "--node", "a") as service:
            check_error(service.http.get("/cloud-node-info"), 404, "not-found", "Cloud")

    def test_health(self, static: LiveNodeInfo) -> None:
        """The service lives, and knows of nothing that is wrong."""
        health = static.get("/health")
        assert (health["status"], health["node"], health["problem"]) == ("alive", "sat2", None)


class TestTopologies:
    def test_the_current_one_has_everything(self, static: LiveNodeInfo) -> None:
        """It is the file's topology, with an epoch, which is also the ETag, and the objectives."""
        answer = static.http.get("/current-topology")
        body = answer.json()
        assert answer.headers["etag"] == f'"{body["epoch"]}"'
        assert body["objectives"] == {"max_latency": 25.0, "min_bandwidth": 0.0}
        read = Topology.parse(json.dumps({"edges": body["edges"]}), epoch=1)
        assert read == load_topology(FOUR_NODES, epoch=1)
        assert static.get("/node-graph") == body["edges"]

    def test_a_known_etag_is_not_sent_again(self, static: LiveNodeInfo) -> None:
        """`If-None-Match` with the ETag of the current epoch is a 304 without a body."""
        etag = static.http.get("/current-topology").headers["etag"]
        answer = static.http.get("/current-topology", headers={"If-None-Match": etag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)

    def test_a_rotation_by_number(self, rotating: LiveNodeInfo) -> None:
        """`t` counts the topologies of the file from 0; without it the last one is meant; there is no eighth."""
        file = json.loads(CONSTELLATION.read_bytes())["topologies"]
        clouds = [rotating.get("/static-topology", t=t)["edges"][0]["target"]["node_name"] for t in range(7)]
        assert clouds == [topology["edges"][0]["target"]["node_name"] for topology in file]
        assert rotating.get("/static-topology")["edges"] == rotating.get("/static-topology", t=6)["edges"]
        check_error(rotating.http.get("/static-topology?t=7"), 400, "invalid-argument", "t: 7", "0 to 6")

    def test_without_a_rotation_there_is_one(self, static: LiveNodeInfo) -> None:
        """The current topology is number 0, and its own successor."""
        current = static.get("/current-topology")
        assert static.get("/static-topology", t=0)["edges"] == current["edges"]
        assert static.get("/next-topology") == {"epoch": current["epoch"], "edges": current["edges"]}
        check_error(static.http.get("/static-topology?t=1"), 400, "invalid-argument", "t: 1")

    def test_the_next_one_comes_with_a_refresh(self, rotating: LiveNodeInfo) -> None:
        """`/next-topology` is the one that `/refresh` turns to; the epoch rises."""
        before, following = rotating.epoch(), rotating.get("/next-topology")["edges"]
        assert rotating.post("/refresh")["epoch"] > before
        assert rotating.get("/current-topology")["edges"] == following

    def test_turns_come_with_time(self) -> None:
        """Without anybody asking for it, the next topology of a rotation holds after the interval."""
        with run_node_info("--provider", "rotating", "--topology", CONSTELLATION, "--interval-s", 0.3) as service:
            clouds: set[str] = set()
            epoch = 0
            for _ in range(40):
                started = time.monotonic()
                topology = service.get("/current-topology", after=epoch, wait_ms=20_000)
                assert time.monotonic() - started < 5
                clouds.add(topology["edges"][0]["target"]["node_name"])
                assert topology["epoch"] > epoch
                epoch = topology["epoch"]
                if len(clouds) == 7:
                    break
            assert len(clouds) == 7

    def test_a_file_is_read_again(self, live: LiveNodeInfo, topology_file: Path) -> None:
        """`/refresh` takes a changed file; an equal one leaves the epoch; a broken one is refused and named."""
        epoch = live.epoch()
        assert live.post("/refresh")["epoch"] == epoch
        set_latency(topology_file, 77)
        assert live.post("/refresh")["epoch"] == epoch + 1
        assert live.get("/current-topology")["edges"][0]["latency"] == 77
        topology_file.write_text('{"edges": [{"source": 1}]}')
        check_error(live.http.post("/refresh"), 400, "invalid-argument", "edges[0].source", "topology.json")
        assert live.get("/current-topology")["epoch"] == epoch + 1


class TestObjectives:
    def test_they_can_be_changed_one_by_one(self, live: LiveNodeInfo) -> None:
        """What a body does not name stays; the epoch of the topology rises with them."""
        epoch = live.epoch()
        assert live.get("/objectives") == {"max_latency": 150.0, "min_bandwidth": 0.0}
        assert live.post("/objectives", {"max_latency": 40}) == {"max_latency": 40.0, "min_bandwidth": 0.0}
        assert live.post("/objectives", {"min_bandwidth": 60}) == {"max_latency": 40.0, "min_bandwidth": 60.0}
        topology = live.get("/current-topology")
        assert topology["objectives"] == live.get("/objectives") == {"max_latency": 40.0, "min_bandwidth": 60.0}
        assert topology["epoch"] > epoch

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            (b'{"max_latency": -1}', ("max_latency: -1", "a number")),
            (b'{"max_latency": "fast"}', ("max_latency: 'fast'", "a number")),
            (b'{"min_bandwidth": 1e400}', ("min_bandwidth", "1.8e308")),
            (b'{"min_bandwidth": NaN}', ("JSON",)),
            (b'{"min_bandwith": 1}', ("min_bandwith: 1", "no such field")),
            (b"[1]", ("body", "an object")),
            (b"", ("body", "JSON")),
            (b"\xff", ("body", "JSON")),
        ],
    )
    def test_bad_input_is_named(self, static: LiveNodeInfo, body: bytes, named: tuple[str, ...]) -> None:
        """The field, its value and what was expected; nothing is changed."""
        check_error(static.http.post("/objectives", content=body), 400, "invalid-argument", *named)
        assert static.get("/objectives") == {"max_latency": 25.0, "min_bandwidth": 0.0}

    def test_a_large_body_is_refused(self, static: LiveNodeInfo) -> None:
        """Nobody can fill the memory with objectives."""
        check_error(static.http.post("/objectives", content=b" " * 70_000), 413, "too-large", "body")


class TestSimSettings:
    def test_ranges_and_interval_can_be_changed(self, drawn: LiveNodeInfo) -> None:
        """The links are drawn anew within the new ranges; what was not named stays."""
        before = drawn.get("/sim-settings")
        ranges = {"Cloud-Sat": {"latency_ms": [3, 3]}, "Sat-Sat": {"latency_ms": [1, 2], "bandwidth_mbps": [7, 8]}}
        epoch = drawn.epoch()
        after = drawn.post("/sim-settings", {"interval_s": 3600, "ranges": ranges})
        assert (after["interval_s"], after["density"]) == (3600.0, before["density"])
        assert after["ranges"]["Cloud-Sat"] == before["ranges"]["Cloud-Sat"] | {"latency_ms": [3.0, 3.0]}
        assert after["ranges"]["Edge-Sat"] == before["ranges"]["Edge-Sat"]
        assert drawn.get("/sim-settings") == after
        topology = drawn.get("/current-topology")
        assert topology["epoch"] > epoch
        assert len(topology["edges"]) == 6
        for edge in topology["edges"]:
            if "Cloud" in (edge["source"]["node_type"], edge["target"]["node_type"]):
                assert edge["latency"] == 3
            else:
                assert 1 <= edge["latency"] <= 2 and 7 <= edge["bandwidth"] <= 8

    def test_density(self, drawn: LiveNodeInfo) -> None:
        """With density 0 the links are a tree."""
        drawn.post("/sim-settings", {"density": 0})
        assert len(drawn.get("/current-topology")["edges"]) == 3
        drawn.post("/sim-settings", {"density": 1})
        assert len(drawn.get("/current-topology")["edges"]) == 6

    def test_refresh_draws_anew(self, drawn: LiveNodeInfo) -> None:
        """Links change when they are asked to, long before the interval ends."""
        before = drawn.get("/current-topology")
        assert drawn.post("/refresh")["epoch"] > before["epoch"]
        assert drawn.get("/current-topology")["edges"] != before["edges"]

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({"interval_s": 0}, ("interval_s: 0", "0.05")),
            ({"density": 1.5}, ("density: 1.5", "1.0")),
            ({"ranges": {"Sat-Moon": {}}}, ("ranges.Sat-Moon", "no such field")),
            ({"ranges": {"Sat-Sat": {"latency_ms": [5, 1]}}}, ("ranges.Sat-Sat.latency_ms", "lowest")),
            ({"ranges": {"Sat-Sat": {"latency_ms": [5]}}}, ("ranges.Sat-Sat.latency_ms", "length 2")),
            ({"ranges": {"Sat-Sat": {"bandwidth_mbps": [0, 1]}}}, ("bandwidth_mbps", "a number")),
            ({"range": {}}, ("range", "no such field")),
        ],
    )
    def test_bad_input_is_named(self, drawn: LiveNodeInfo, body: object, named: tuple[str, ...]) -> None:
        """The field and what was expected; nothing is changed."""
        before = drawn.get("/sim-settings")
        check_error(drawn.http.post("/sim-settings", json=body), 400, "invalid-argument", *named)
        assert drawn.get("/sim-settings") == before

    def test_where_nothing_is_drawn_there_are_none(self, static: LiveNodeInfo) -> None:
        """A service of another provider refuses them."""
        check_error(static.http.post("/sim-settings", json={}), 400, "invalid-argument", "provider")
        check_error(static.http.get("/sim-settings"), 400, "invalid-argument", "provider")


class TestMeasurements:
    def test_they_are_mixed_in(self, live: LiveNodeInfo) -> None:
        """A report changes the link by its share; another one close to it does not raise the epoch."""
        report = {"source": "alone", "target": "cloud", "latency_ms": 99, "bandwidth_mbps": 500}
        epoch = live.epoch()
        assert live.post("/measurements", report) == {"counts": True, "epoch": epoch + 1}
        (edge,) = live.get("/node-graph")
        assert (edge["latency"], edge["bandwidth"]) == (50.0, 750.0)
        assert live.post("/measurements", report | {"latency_ms": 101})["epoch"] == epoch + 1

    def test_they_expire(self, topology_file: Path) -> None:
        """After the expiry the file's value is served again: whoever waits is told."""
        environment = {"SKYLARK_NODE_INFO_MEASURED_EXPIRY_S": "0.5", "SKYLARK_NODE_INFO_MEASURED_WEIGHT": "1"}
        with run_node_info("--topology", topology_file, "--node", "alone", environment=environment) as service:
            sent = service.post("/measurements", {"source": "alone", "target": "cloud", "latency_ms": 42})
            after = service.get("/current-topology", after=sent["epoch"], wait_ms=10_000)
            assert (after["edges"][0]["latency"], after["epoch"]) == (1.0, sent["epoch"] + 1)

    @pytest.mark.parametrize(
        ("change", "status", "code", "named"),
        [
            ({"source": "nobody"}, 404, "unknown-node", "nobody"),
            ({"target": "alone"}, 400, "invalid-argument", "target"),
            ({"target": "a:b"}, 400, "invalid-argument", "target"),
            ({"target": None}, 400, "invalid-argument", "target"),
            ({"latency_ms": -1}, 400, "invalid-argument", "latency_ms"),
            ({"latency_ms": None}, 400, "invalid-argument", "latency_ms"),
            ({"bandwidth_mbps": 0}, 400, "invalid-argument", "bandwidth_mbps"),
            ({"at_s": "now"}, 400, "invalid-argument", "at_s"),
            ({"loss": 1}, 400, "invalid-argument", "loss"),
        ],
    )
    def test_bad_input_is_named(
        self, live: LiveNodeInfo, change: dict[str, object], status: int, code: str, named: str
    ) -> None:
        """The field and what was expected; the topology stays."""
        epoch = live.epoch()
        report = {"source": "alone", "target": "cloud", "latency_ms": 99} | change
        check_error(live.http.post("/measurements", json=report), status, code, named)
        assert live.epoch() == epoch


class TestLongPoll:
    def test_it_is_answered_at_once_where_the_epoch_differs(self, static: LiveNodeInfo) -> None:
        """An epoch that is not the current one, older or newer, is answered without waiting."""
        epoch = static.epoch()
        for other in (0, epoch - 1, epoch + 1):
            started = time.monotonic()
            assert static.get("/current-topology", after=other, wait_ms=20_000)["epoch"] == epoch
            assert time.monotonic() - started < 5

    def test_it_is_answered_when_something_changes(self, live: LiveNodeInfo) -> None:
        """Whoever waits is told at once of a change, of the objectives too; there may be many."""
        epoch = live.epoch()

        def wait() -> Any:
            return httpx.get(f"{live.url}/current-topology?after={epoch}&wait_ms=20000", timeout=30).json()

        waiting = [in_background(wait) for _ in range(8)]
        assert live.http.get(f"/current-topology?after={epoch}&wait_ms=50").status_code == 304
        changed = time.monotonic()
        live.post("/objectives", {"max_latency": 1})
        answers = [one.result(10) for one in waiting]
        assert time.monotonic() - changed < 2
        assert {(one["epoch"], one["objectives"]["max_latency"]) for one in answers} == {(epoch + 1, 1.0)}

    def test_after_the_time_it_is_304(self, static: LiveNodeInfo) -> None:
        """Where nothing changes, the answer is 304 after `wait_ms`, and at once without it."""
        epoch = static.epoch()
        started = time.monotonic()
        waited = static.http.get(f"/current-topology?after={epoch}&wait_ms=300")
        assert (waited.status_code, waited.content) == (304, b"")
        assert 0.3 <= time.monotonic() - started < 5
        assert static.http.get(f"/current-topology?after={epoch}").status_code == 304

    @pytest.mark.parametrize(
        ("query", "named"),
        [("after=x", "after"), ("after=1&wait_ms=60001", "wait_ms"), ("wait_ms=5", "after"), ("after=-1", "after")],
    )
    def test_bad_input_is_named(self, static: LiveNodeInfo, query: str, named: str) -> None:
        """The wait is bounded, and needs an epoch to wait beyond."""
        check_error(static.http.get(f"/current-topology?{query}"), 400, "invalid-argument", named)

    def test_the_end_of_the_service_does_not_wait_for_it(self, live: LiveNodeInfo) -> None:
        """On SIGTERM those who wait are answered, and the service ends at once."""
        epoch = live.epoch()
        path = f"/current-topology?after={epoch}&wait_ms=60000"
        with socket.create_connection(("127.0.0.1", live.port), timeout=20) as waiting:
            waiting.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_answer(waiting)[0] == 200
            # The service reads this before it answers what comes later, as it has taken the connection already.
            waiting.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert live.http.get("/health").status_code == 200
            assert live.end() == 0
            assert read_answer(waiting) == (304, b"")


class TestDescription:
    def test_every_route_is_described_and_nothing_else(self) -> None:
        """The routes of the application and their methods are those of the description; HEAD goes with GET."""
        measured = MeasuredTopology(FileTopology(FOUR_NODES), Mixing())
        app = create_node_info_app(NodeInfo("sat2", measured, Objectives(), Bell()))
        routes = {
            (route.path, method) for route in app.routes if isinstance(route, Route) for method in route.methods or ()
        }
        described = {(path, method.upper()) for path, methods in description()["paths"].items() for method in methods}
        assert {(path, method) for path, method in routes if method != "HEAD"} == described

    def test_every_schema_is_one(self) -> None:
        """Every schema is valid JSON Schema 2020-12, and every reference leads to one."""
        schemas = description()["components"]["schemas"]
        for one in schemas.values():
            jsonschema.Draft202012Validator.check_schema(one)
        referred = {part.split("'")[0] for part in str(description()).split("#/components/schemas/")[1:]}
        assert referred <= set(schemas)

    def test_it_is_as_described(self, tmp_path: Path) -> None:
        """Whatever is sent, the service answers with a status, media type and body that its description has."""
        options = ("--provider", "random", "--topology", FOUR_NODES, "--node", "sat1")
        with run_node_info(*options) as service:
            document = service.get("/openapi.json")
            assert document == description()
            for parameter in document["paths"]["/current-topology"]["get"]["parameters"]:
                if parameter["name"] == "wait_ms":
                    parameter["schema"]["maximum"] = 50  # so that the fuzzer does not sit and wait
            (tmp_path / "description.json").write_text(json.dumps(document))
            checks = (
                "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
                "negative_data_rejection,unsupported_method"
            )
            command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]
            bounds = ["--phases", "coverage,fuzzing", "-n", "25", "--seed", "7", "--no-shrink", "--continue-on-failure"]
            fuzz = subprocess.run(
                [*command, "description.json", "--url", service.url, "--checks", checks, *bounds],
                cwd=tmp_path,
                env=os.environ | {"COLUMNS": "120"},
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert fuzz.returncode == 0, fuzz.stdout + fuzz.stderr
            assert service.get("/health")["status"] == "alive"
            assert "Traceback" not in service.log()

    def test_what_is_no_http_does_it_no_harm(self, static: LiveNodeInfo) -> None:
        """Bytes that are no request are refused, and the service goes on."""
        send_raw(static.url, b"\x00\xff\r\n\r\n")
        check_error(static.http.get("/nothing"), 404, "not-found")
        check_error(static.http.delete("/objectives"), 405, "method-not-allowed")
        assert static.get("/health")["status"] == "alive"


class TestStart:
    @pytest.mark.parametrize(
        ("options", "named"),
        [
            (["--provider", "moon"], "NODE_INFO_PROVIDER='moon'"),
            (["--provider", "rotating"], "SKYLARK_TOPOLOGY"),
            (["--provider", "rotating", "--topology", str(FOUR_NODES)], "four-nodes.json"),
            (["--topology", "none.json"], "none.json"),
            (["--topology", str(FOUR_NODES), "--max-latency-ms", "-1"], "SKYLARK_MAX_LATENCY_MS='-1.0'"),
            (["--topology", str(FOUR_NODES), "--port", "70000"], "SKYLARK_NODE_INFO_PORT='70000'"),
            (["--topology", str(FOUR_NODES), "--density", "2"], "SKYLARK_NODE_INFO_DENSITY='2.0'"),
            (["--topology", str(FOUR_NODES), "--interval-s", "0"], "SKYLARK_NODE_INFO_INTERVAL_S='0.0'"),
        ],
    )
    def test_a_bad_setting_is_one_clear_error(self, options: list[str], named: str) -> None:
        """The start fails with the setting, its value and what was expected, without a traceback."""
        failed = subprocess.run(
            [sys.executable, "-m", "skylark_proxy", "node-info", "--port", "0", *options],
            env={name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert failed.returncode == 1
        assert named in " ".join(failed.stderr.split()) and "Traceback" not in failed.stderr

    def test_a_taken_port_is_named(self, static: LiveNodeInfo) -> None:
        """The error says which settings name the address."""
        failed = subprocess.run(
            [sys.executable, "-m", "skylark_proxy", "node-info", "--topology", FOUR_NODES, "--port", str(static.port)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert failed.returncode == 1 and "SKYLARK_NODE_INFO_PORT" in failed.stderr


def neighbors(node: LiveNode) -> Any:
    return node.client.request("GET", "/neighbors").json()


def latency_of(node: LiveNode) -> float | None:
    """The latency of the node's one link; None: it has none."""
    found = neighbors(node)["neighbors"]
    return found[0]["latency_ms"] if found else None


class TestFollowing:
    def test_a_change_is_used_within_a_second(self, live: LiveNodeInfo, topology_file: Path) -> None:
        """Topology and objectives reach the proxy's elections under one epoch, soon after they changed."""
        with run_proxy(node_info_url=live.url) as node:
            told = neighbors(node)
            assert (told["source"], told["epoch"]) == ("node-info", live.epoch())
            for latency_ms in (20.0, 30.0, 40.0):
                set_latency(topology_file, latency_ms)
                live.post("/refresh")
                changed = time.monotonic()
                wait_for(lambda expected=latency_ms: latency_of(node) == expected, "the proxy uses it")  # type: ignore[misc]
                assert time.monotonic() - changed < 1
            election = elect(node)
            assert (election["elected"], election["epoch"]) == ("cloud", live.epoch())
            live.post("/objectives", {"max_latency": 1})
            wait_for(lambda: elect(node)["elected"] == "alone", "the new objectives hold")
            assert elect(node)["objectives"] == {"max_latency_ms": 1.0, "min_bandwidth_mbps": 0.0}
            assert elect(node)["epoch"] == live.epoch()

    def test_while_the_service_is_away_the_last_topology_holds(self, live: LiveNodeInfo, topology_file: Path) -> None:
        """The proxy keeps it, says how old it is, logs once that contact is lost and once that it is back."""
        set_latency(topology_file, 20)
        live.post("/refresh")
        with run_proxy(node_info_url=live.url) as node:
            assert latency_of(node) == 20
            epoch = neighbors(node)["epoch"]
            live.kill()
            wait_for(lambda: "cannot be reached" in node.log(), "the loss is logged")
            aged = neighbors(node)["age_s"]
            wait_for(lambda: neighbors(node)["age_s"] > aged, "the topology ages")
            assert (latency_of(node), neighbors(node)["epoch"], elect(node)["elected"]) == (20, epoch, "cloud")
            ready = node.client.request("GET", "/health/readiness").json()
            assert (ready["status"], ready["topology"]["source"]) == ("ready", "node-info")
            assert ready["topology"]["age_s"] >= aged
            refused = node.http.post("/refresh")
            check_error(refused, 503, "unavailable", live.url)
            set_latency(topology_file, 60)
            live.start()
            wait_for(lambda: latency_of(node) == 60, "the proxy follows again")
            assert neighbors(node)["epoch"] == live.epoch() > epoch
            assert node.log().count("cannot be reached") == 1
            assert node.log().count("is back") == 1
            live.kill()
            wait_for(lambda: node.log().count("cannot be reached") == 2, "another loss is logged")

    def test_refresh_asks_at_once(self, live: LiveNodeInfo) -> None:
        """`POST /refresh` of a proxy asks the service, and answers what is known then."""
        with run_proxy(node_info_url=live.url) as node:
            answer = node.client.request("POST", "/refresh").json()
            assert (answer["epoch"], answer["source"]) == (live.epoch(), "node-info")
            assert 0 <= answer["age_s"] < 1

    def test_a_node_that_the_service_does_not_know_stands_alone(self, static: LiveNodeInfo) -> None:
        """Its elections lead to itself, and the log says why."""
        with run_proxy(node="stranger", node_info_url=static.url) as node:
            assert neighbors(node)["neighbors"] == []
            election = elect(node)
            assert (election["elected"], election["destination"]) == ("stranger", "cloud1")
            assert node.log().count("does not know this node") == 1

    def test_a_service_that_answers_with_nonsense_changes_nothing(self) -> None:
        """What is no topology is not taken; the proxy says so once and goes on with what it has."""
        with run_proxy() as other, run_proxy(node_info_url=other.url, node_info_wait_ms="200") as node:
            assert neighbors(node)["source"] == "file"
            assert node.log().count("it answered with status 404") == 1


class TestStartOfAFollower:
    AWAY = "http://127.0.0.1:9"

    def test_the_given_topology_holds_until_the_service_is_there(self, topology_file: Path) -> None:
        """Without contact SKYLARK_TOPOLOGY is used after a bounded time; then the service's."""
        set_latency(topology_file, 20)
        with run_node_info("--topology", topology_file, "--node", "alone") as service:
            service.kill()
            settings = {"SKYLARK_NODE_INFO_URL": service.url, "SKYLARK_NODE_INFO_WAIT_MS": "300"}
            with run_nodes(line("alone", "cloud"), ["alone"], settings=settings) as nodes:
                told = neighbors(nodes["alone"])
                assert (told["source"], told["age_s"], latency_of(nodes["alone"])) == ("file", None, 1.0)
                assert "starting without the node-info service" in nodes["alone"].log()
                service.start()
                wait_for(lambda: latency_of(nodes["alone"]) == 20, "the service's topology holds")
                assert neighbors(nodes["alone"])["source"] == "node-info"

    def test_the_last_topology_is_saved(self, live: LiveNodeInfo, topology_file: Path) -> None:
        """A proxy that is started again while the service is away goes on with what the service told last."""
        set_latency(topology_file, 20)
        live.post("/objectives", {"max_latency": 77})
        live.post("/refresh")
        with run_proxy(node_info_url=live.url, node_info_wait_ms="2000", topology="") as node:
            assert latency_of(node) == 20
            live.kill()
            node.end()
            node.restart()
            told = neighbors(node)
            assert (told["source"], latency_of(node)) == ("saved", 20)
            assert told["age_s"] > 0
            assert elect(node)["objectives"]["max_latency_ms"] == 77

    def test_a_saved_topology_that_is_broken_is_passed_over(self, live: LiveNodeInfo) -> None:
        """A half-written or foreign file does not keep a node from starting."""
        with run_proxy(node_info_url=live.url, node_info_wait_ms="300", topology="") as node:
            live.kill()
            node.end()
            (node.data / "node-info.json").write_text("{")
            node.restart()
            assert neighbors(node)["source"] == "alone"
            assert "is passed over" in node.log()

    def test_without_anything_it_is_alone(self) -> None:
        """The node starts as its own cloud, with a warning."""
        with run_proxy(node_info_url=self.AWAY, node_info_wait_ms="200", topology="") as node:
            told = neighbors(node)
            assert (told["source"], told["neighbors"], told["age_s"]) == ("alone", [], None)
            assert "WARNING" in node.log() and "this node alone" in node.log()
            assert elect(node)["elected"] == "alone"

    def test_without_a_service_a_file_is_read_again(self) -> None:
        """`POST /refresh` of a proxy that follows nobody takes its changed topology file."""
        with run_nodes(line("alone", "cloud"), ["alone"]) as nodes:
            node = nodes["alone"]
            before = neighbors(node)
            set_latency(node.topology, 33)
            answer = node.client.request("POST", "/refresh").json()
            assert answer == {"epoch": before["epoch"] + 1, "source": "file", "age_s": None}
            assert latency_of(node) == 33


class TestReportingLinks:
    def test_proxies_correct_the_links_that_they_use(self, tmp_path: Path) -> None:
        """Exchanges between two proxies are measured and reported, and change the link that both of them follow."""
        topology = line("alone", "cloud", latency_ms=60.0, bandwidth_mbps=100.0)
        (tmp_path / "topology.json").write_bytes(topology.to_json())
        with run_node_info("--topology", tmp_path / "topology.json", "--node", "alone") as service:
            settings = {"SKYLARK_NODE_INFO_URL": service.url, "SKYLARK_REPORT_LINKS": "true"}
            with run_nodes(topology, settings=settings) as nodes:
                for number in range(5):
                    nodes["alone"].client.put_bundle(f"c:cloud:t{number}", {"f": b"small"})
                nodes["alone"].client.put_bundle("c:cloud:large", {"f": b"x" * 4_000_000})
                wait_for(lambda: latency_of(nodes["cloud"]) != 60.0, "the report has come back")
                (edge,) = service.get("/node-graph")
                assert 30 <= edge["latency"] < 55
                assert edge["bandwidth"] != 100.0

    def test_without_a_service_to_report_to_it_does_not_start(self) -> None:
        """The setting needs the other one, and the error names both."""
        failed = subprocess.run(
            [sys.executable, "-m", "skylark_proxy", "serve", "--port", str(free_port())],
            env=os.environ | {"SKYLARK_REPORT_LINKS": "true", "SKYLARK_DATA_DIR": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert failed.returncode == 1
        assert "SKYLARK_REPORT_LINKS" in failed.stderr and "SKYLARK_NODE_INFO_URL" in failed.stderr


def elect(node: LiveNode) -> Any:
    """The election for a bundle of a thousand bytes."""
    answer = node.http.get("/storage-node?size=1000", headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    return answer.json()
