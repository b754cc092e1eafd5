"""The provider `kubernetes` with the official client, against a small API server of the tests' own, over HTTPS.

The server is not Kubernetes: what is shown here is that the client lists, watches and recovers; not that a cluster
behaves as the server does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubernetes_api import KubernetesApi, node, run_kubernetes_api
from node_infos import LiveNodeInfo, run_node_info
from servers import wait_for


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    """A cluster of three nodes that count, and three that do not."""
    with run_kubernetes_api(tmp_path) as (server, _):
        server.put(node("cloud1", "Cloud", "10.0.0.1"))
        server.put(node("sat1", "Sat", "10.0.0.2"))
        server.put(node("edge1", "Edge", "fd00::3"))
        server.put(node("plain", None, "10.0.0.4"))
        server.put(node("down", "Sat", "10.0.0.5", ready="False"))
        server.put(node("nowhere", "Sat", None))
        yield server


def run(tmp_path: Path, *options: object) -> Any:
    environment = {"KUBECONFIG": str(tmp_path / "kubeconfig")}
    return run_node_info("--provider", "kubernetes", "--node", "sat1", *options, environment=environment)


@pytest.fixture
def live(api: KubernetesApi, tmp_path: Path) -> Iterator[LiveNodeInfo]:
    with run(tmp_path, "--seed", 1) as service:
        yield service


def nodes_of(service: LiveNodeInfo) -> dict[str, tuple[str, str]]:
    """The nodes of the topology: name, address and tier."""
    topology = service.get("/current-topology")
    nodes = [edge[end] for edge in topology["edges"] for end in ("source", "target")] + topology.get("nodes", [])
    return {one["node_name"]: (one["node_ip"], one["node_type"]) for one in nodes}


def test_nodes_are_those_that_are_ready_and_labelled(live: LiveNodeInfo) -> None:
    """Ready nodes with the label and an InternalIP are the topology; an IPv6 address is put in brackets."""
    assert nodes_of(live) == {
        "cloud1": ("10.0.0.1", "Cloud"),
        "sat1": ("10.0.0.2", "Sat"),
        "edge1": ("[fd00::3]", "Edge"),
    }
    assert len(live.get("/node-graph")) == 3
    assert live.get("/local-node-info") == {"node_name": "sat1", "node_ip": "10.0.0.2", "node_type": "Sat"}
    assert live.get("/cloud-node-info")["node_name"] == "cloud1"


def test_changes_of_the_cluster_arrive(api: KubernetesApi, live: LiveNodeInfo) -> None:
    """Nodes that come, go, fail, are labelled or move change the topology, by the watch and not by another list."""
    epoch = live.epoch()
    api.put(node("sat2", "Sat", "10.0.0.6"))
    changed = live.get("/current-topology", after=epoch, wait_ms=20_000)
    assert changed["epoch"] > epoch
    wait_for(lambda: "sat2" in nodes_of(live), "a new node is there")
    api.put(node("sat2", "Sat", "10.0.0.7"))
    wait_for(lambda: nodes_of(live)["sat2"][0] == "10.0.0.7", "its new address is known")
    api.put(node("plain", "Edge", "10.0.0.4"))
    wait_for(lambda: nodes_of(live).get("plain") == ("10.0.0.4", "Edge"), "a node with a new label is there")
    api.put(node("plain", None, "10.0.0.4"))
    wait_for(lambda: "plain" not in nodes_of(live), "a node without its label is gone")
    api.put(node("edge1", "Edge", "fd00::3", ready="Unknown"))
    wait_for(lambda: "edge1" not in nodes_of(live), "a node that is not ready is gone")
    api.delete("sat2")
    wait_for(lambda: set(nodes_of(live)) == {"cloud1", "sat1"}, "a deleted node is gone")
    assert (api.lists, live.get("/health")["problem"]) == (1, None)


def test_it_lists_again_when_its_version_is_too_old(api: KubernetesApi, live: LiveNodeInfo) -> None:
    """After 410 Gone the nodes are listed anew and watched from there."""
    wait_for(lambda: bool(api.watched_from), "it watches")
    api.expire_versions()
    wait_for(lambda: api.lists > 1, "it lists again")
    api.put(node("sat2", "Sat", "10.0.0.6"))
    wait_for(lambda: "sat2" in nodes_of(live), "changes arrive again")


def test_a_watch_that_ends_is_taken_up_where_it_was(api: KubernetesApi, live: LiveNodeInfo) -> None:
    """The API ends watches now and then; nothing is missed, and nothing listed again."""
    wait_for(lambda: bool(api.watched_from), "it watches")
    api.put(node("sat2", "Sat", "10.0.0.6"))
    wait_for(lambda: "sat2" in nodes_of(live), "a change arrives")
    api.break_watches()
    api.put(node("sat3", "Sat", "10.0.0.7"))
    wait_for(lambda: "sat3" in nodes_of(live), "the next change arrives")
    assert api.lists == 1
    assert api.watched_from[-1] > api.watched_from[0]


def test_while_the_api_is_away_the_last_nodes_hold(api: KubernetesApi, live: LiveNodeInfo) -> None:
    """The topology stays, `/health` says what is wrong, a refresh is a 503; then it recovers by itself."""
    wait_for(lambda: bool(api.watched_from), "it watches")
    known = nodes_of(live)
    api.refusing = 500
    api.break_watches()
    wait_for(lambda: live.get("/health")["problem"] is not None, "the problem is told")
    assert "500" in live.get("/health")["problem"]
    assert nodes_of(live) == known
    refused = live.http.post("/refresh")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    api.refusing = None
    api.put(node("sat2", "Sat", "10.0.0.6"))
    wait_for(lambda: "sat2" in nodes_of(live), "it recovers")
    wait_for(lambda: live.get("/health")["problem"] is None, "the problem is gone")
    assert live.log().count("is back") == 1
    assert live.log().count("the last nodes are kept") == 1


def test_the_last_nodes_hold_when_none_is_left(api: KubernetesApi, live: LiveNodeInfo) -> None:
    """A cluster without any node that counts is no topology: the last one stays, and the problem is told."""
    for name in ("cloud1", "edge1", "sat1"):
        api.delete(name)
    wait_for(lambda: live.get("/health")["problem"] is not None, "the problem is told")
    assert set(nodes_of(live)) == {"sat1"}
    api.put(node("sat9", "Sat", "10.0.0.9"))
    wait_for(lambda: set(nodes_of(live)) == {"sat9"}, "a node that comes is the topology")


def test_links_may_come_from_a_file(api: KubernetesApi, tmp_path: Path) -> None:
    """With a topology file its links join the cluster's nodes; the file's addresses do not count."""
    links = {
        "edges": [
            {"source": end("sat1"), "target": end("cloud1", "Cloud"), "latency": 12, "bandwidth": 34},
            {"source": end("sat1"), "target": end("elsewhere"), "latency": 1, "bandwidth": 1},
        ]
    }
    (tmp_path / "links.json").write_text(json.dumps(links))
    with run(tmp_path, "--topology", tmp_path / "links.json") as service:
        topology = service.get("/current-topology")
        assert [(edge["latency"], edge["bandwidth"]) for edge in topology["edges"]] == [(12, 34)]
        assert topology["edges"][0]["source"]["node_ip"] == "10.0.0.2"
        assert [one["node_name"] for one in topology["nodes"]] == ["edge1"]


def test_refresh_lists_again(api: KubernetesApi, live: LiveNodeInfo) -> None:
    """`POST /refresh` asks the API, and answers the epoch after it."""
    epoch = live.epoch()
    assert live.post("/refresh")["epoch"] > epoch
    assert api.lists == 2


def test_it_ends_on_sigterm_while_it_watches(api: KubernetesApi, live: LiveNodeInfo) -> None:
    """The watch does not hold it up."""
    wait_for(lambda: bool(api.watched_from), "it watches")
    assert live.end() == 0
    assert "Traceback" not in live.log()


@pytest.mark.parametrize(("refusing", "named"), [(403, "403"), (None, "at least one node that is Ready")])
def test_it_does_not_start_without_nodes(tmp_path: Path, refusing: int | None, named: str) -> None:
    """An API that refuses, or knows no node that counts, is one clear error, and no traceback."""
    with run_kubernetes_api(tmp_path) as (server, kubeconfig):
        server.refusing = refusing
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")}
        failed = subprocess.run(
            [sys.executable, "-m", "skylark_proxy", "node-info", "--provider", "kubernetes", "--port", "0"],
            env=environment | {"KUBECONFIG": str(kubeconfig)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert failed.returncode == 1
    assert named in failed.stderr and "Traceback" not in failed.stderr


def end(name: str, tier: str = "Sat") -> dict[str, str]:
    address = {"sat1": "192.0.2.1", "cloud1": "192.0.2.2"}.get(name, "192.0.2.3")
    return {"node_name": name, "node_ip": address, "node_type": tier}
