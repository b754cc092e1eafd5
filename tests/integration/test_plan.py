"""Plans: where a chain goes on, how a plan travels, what runs together, and what of a bundle is fetched."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from continuum import LiveNode, Nodes, check_error, line, run_nodes
from skylark import wire
from skylark_proxy.build import build
from skylark_proxy.config import Config

STATEFUL = Path(__file__).parents[1] / "component" / "functions" / "stateful.py"
SOURCE = textwrap.dedent(
    '''
    """Functions that say what they need, and answer with what they got."""

    import skylark


    @skylark.function
    def make(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        return {"a": bytes(1000), "b": bytes(100_000), "c": bytes(10)}


    @skylark.function(needs=["a"])
    def needs_a(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        return {"needs_a": ",".join(sorted(bundle)).encode()}


    @skylark.function(needs=["c", "missing"])
    def needs_c(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        return {"needs_c": ",".join(sorted(bundle)).encode()}


    @skylark.function(needs=[])
    def needs_nothing(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        return {"needs_nothing": ",".join(sorted(bundle)).encode()}


    @skylark.function
    def needs_all(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
        return {"needs_all": ",".join(sorted(bundle)).encode()}


    @skylark.function
    def decides(bundle: skylark.Bundle, ctx: skylark.Context) -> None:
        ctx.state.store({"x": b"1"}, destination="edge")
    '''
)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """sat – edge – cloud over fast links, with two components."""
    folder, cache = tmp_path_factory.mktemp("functions"), Config.load({}).cache_dir / "components"
    source = folder / "needs.py"
    source.write_text(SOURCE)
    for path in (source, STATEFUL):
        build(path, folder / f"{path.stem}.wasm", cache)
    with run_nodes(line("sat", "edge", "cloud"), functions=folder) as running:
        yield running


def invoke(node: LiveNode, functions: str, **query: str) -> dict[str, Any]:
    """Invokes functions and returns the report."""
    answer = node.http.post(f"/functions/{functions}", params=query, content=b"100")
    assert answer.status_code == 200, answer.text
    return node.client.task(answer.headers["skylark-task"])


def left(node: LiveNode, report: dict[str, Any]) -> dict[str, bytes]:
    """The fields that a task left."""
    return {name: bytes(value) for name, value in node.client.get_bundle(report["key"])[0].items()}


def destination(report: dict[str, Any]) -> tuple[str, str]:
    [placed] = report["placements"]
    return placed["election"]["destination"], placed["destination_from"]


class TestDestinations:
    def test_the_next_step(self, nodes: Nodes) -> None:
        """The node of the next step is the destination, whatever the request and the node's default say; without a
        plan the request says it, and else the default."""
        plan = "make@sat,needs_a@edge,needs_c@cloud"
        assert destination(invoke(nodes["sat"], "make", plan=plan, destination="cloud")) == ("edge", "plan")
        assert destination(invoke(nodes["sat"], "make", plan=plan)) == ("edge", "plan")
        assert destination(invoke(nodes["sat"], "make", destination="edge")) == ("edge", "request")
        assert destination(invoke(nodes["sat"], "make")) == ("cloud", "default")

    def test_a_step_without_a_node(self, nodes: Nodes) -> None:
        """Where the plan does not know the next node, or has no next step, the request or the default says it."""
        for plan in ("make@sat,needs_a,needs_c@edge", "needs_a@edge,make@sat", "needs_a@edge"):
            report = invoke(nodes["sat"], "make", plan=plan, destination="edge")
            assert destination(report) == ("edge", "request")
            assert destination(invoke(nodes["sat"], "make", plan=plan)) == ("cloud", "default")

    def test_the_function_itself(self, nodes: Nodes) -> None:
        """What the function says wins."""
        report = invoke(nodes["sat"], "decides", plan="decides@sat,needs_a@cloud", destination="cloud")
        assert destination(report) == ("edge", "function")

    def test_the_bundle_is_where_the_next_step_runs(self, nodes: Nodes) -> None:
        """The next function finds its state at its own node."""
        plan = "make@sat,needs_all@edge"
        report = invoke(nodes["sat"], "make", plan=plan)
        assert report["key"].split(":")[1] == "edge"
        following = invoke(nodes["edge"], "needs_all", key=report["key"], plan=plan)
        assert [fetch["hops"] for fetch in following["fetches"]] == [0]

    def test_a_bundle_that_is_put(self, nodes: Nodes, chain: str) -> None:
        """Where a bundle is put by a request, its destination is the request's or the default."""
        for query, expected in (({"destination": "edge"}, ("edge", "request")), ({}, ("cloud", "default"))):
            placed = nodes["sat"].client.put_bundle(f"{chain}:t1", {"f": b"x"}, **query)
            assert (placed["election"]["destination"], placed["destination_from"]) == expected


class TestPlansThatTravel:
    def test_with_the_bundles_of_the_chain(self, nodes: Nodes) -> None:
        """The plan is given once: it goes with each bundle to the next node, and says there where the chain goes on."""
        plan = "make@sat,needs_a@edge,needs_all@cloud,third@sat"
        report = invoke(nodes["sat"], "make", plan=plan)
        assert nodes["edge"].http.head(f"/bundles/{report['key']}").headers["skylark-plan"] == plan
        report = invoke(nodes["edge"], "needs_all", key=report["key"])
        assert destination(report) == ("sat", "plan")
        assert nodes["cloud"].http.head(f"/bundles/{report['key']}").headers["skylark-plan"] == plan
        report = invoke(nodes["sat"], "third", key=report["key"])
        assert destination(report) == ("cloud", "default")

    def test_a_plan_that_is_changed(self, nodes: Nodes) -> None:
        """A plan that is given anew replaces the one that came with the bundle."""
        report = invoke(nodes["sat"], "make", plan="make@sat,needs_all@edge,third@cloud")
        report = invoke(nodes["edge"], "needs_all", key=report["key"], plan="needs_all@edge,third@sat")
        assert destination(report) == ("sat", "plan")

    def test_a_copy(self, nodes: Nodes) -> None:
        """A copy that the outbox makes has the plan too."""
        plan = "make@sat,needs_all@edge"
        answer = nodes["sat"].http.post("/functions/make", params={"plan": plan, "ack": "local"}, content=b"")
        key = answer.json()["key"]
        assert key.split(":")[1] == "sat"
        fetched = nodes["edge"].http.get(f"/bundles/{key}")
        assert (fetched.status_code, fetched.headers["skylark-plan"]) == (200, plan)

    def test_through_the_http_interface(self, nodes: Nodes, chain: str) -> None:
        """A plan may be given as a header with a bundle that is put."""
        body = b"".join(wire.encode({"a": b"1"}))
        given = {"Skylark-Plan": "needs_all@edge,third@sat"}
        answer = nodes["sat"].http.put(f"/bundles/{chain}:edge:t1", content=body, headers=given)
        assert answer.status_code == 200
        assert destination(invoke(nodes["edge"], "needs_all", key=f"{chain}:edge:t1")) == ("sat", "plan")


class TestWrongPlans:
    @pytest.mark.parametrize(
        "plan",
        [
            "",
            ",",
            "make@",
            "@sat",
            "make@sat@edge",
            "make@sat,,needs_a",
            "make@sat,make@edge",
            "ma ke",
            "a:b",
            "x" * 5000,
        ],
    )
    def test_what_is_no_plan(self, nodes: Nodes, plan: str) -> None:
        """What is no plan is refused by name, and nothing runs."""
        answer = nodes["sat"].http.post("/functions/make", params={"plan": plan}, content=b"")
        check_error(answer, 400, "invalid-argument", "plan")

    def test_a_node_that_does_not_exist(self, nodes: Nodes) -> None:
        """A plan over a node that is not in the topology is refused before anything runs."""
        answer = nodes["sat"].http.post("/functions/make?plan=make@sat,needs_a@mars", content=b"")
        check_error(answer, 404, "unknown-node", "mars")

    def test_a_header_that_is_no_plan(self, nodes: Nodes, chain: str) -> None:
        """The header is held to the same form."""
        body = b"".join(wire.encode({"a": b"1"}))
        answer = nodes["sat"].http.put(f"/bundles/{chain}:t1", content=body, headers={"Skylark-Plan": "a@b@c"})
        check_error(answer, 400, "invalid-argument", "Skylark-Plan")
        assert nodes["sat"].held(chain) == []

    @pytest.mark.parametrize("fuse", ["no", "1", ""])
    def test_a_wrong_fuse(self, nodes: Nodes, fuse: str) -> None:
        """`fuse` is true or false."""
        answer = nodes["sat"].http.post("/functions/make", params={"fuse": fuse}, content=b"")
        check_error(answer, 400, "invalid-argument", "fuse")


def stores_of(node: LiveNode) -> int:
    """How many bundles its Redis has put in their place since it was started."""
    with node.redis() as client:
        calls = client.info("commandstats")
        return int(calls.get("cmdstat_rename", {"calls": 0})["calls"])


class TestFusion:
    PLAN = "make@sat,needs_a@edge,needs_c@edge,needs_nothing@edge,first@edge,needs_all@cloud"

    def test_functions_that_follow_at_the_same_node(self, nodes: Nodes) -> None:
        """Functions that follow each other at a node and are of one component run in one invocation, with one fetch and
        one store, which goes to where the chain goes on."""
        made = invoke(nodes["sat"], "make", plan=self.PLAN)
        assert made["functions"] == ["make"]
        before = stores_of(nodes["edge"])
        report = invoke(nodes["edge"], "needs_a", key=made["key"], plan=self.PLAN)
        assert report["functions"] == ["needs_a", "needs_c", "needs_nothing"]
        assert (len(report["fetches"]), len(report["placements"])) == (1, 1)
        assert destination(report) == ("edge", "plan")
        assert stores_of(nodes["edge"]) == before + 1
        assert sorted(left(nodes["edge"], report)) == ["needs_a", "needs_c", "needs_nothing"]

    def test_without_fusion(self, nodes: Nodes) -> None:
        """With `fuse=false` each of them is an invocation of its own."""
        key = invoke(nodes["sat"], "make", plan=self.PLAN)["key"]
        before = stores_of(nodes["edge"])
        for function in ("needs_a", "needs_c", "needs_nothing"):
            report = invoke(nodes["edge"], function, key=key, plan=self.PLAN, fuse="false")
            assert report["functions"] == [function]
            assert list(left(nodes["edge"], report)) == [function]
        assert stores_of(nodes["edge"]) == before + 3

    def test_steps_that_run_elsewhere(self, nodes: Nodes) -> None:
        """A step at another node, or at none in particular, ends what runs together."""
        for plan in ("make@sat,needs_a@edge,needs_c@sat", "make@sat,needs_a,needs_c@sat"):
            assert invoke(nodes["sat"], "make", plan=plan)["functions"] == ["make"]

    def test_the_last_functions_of_a_plan(self, nodes: Nodes) -> None:
        """What runs together at the end of a plan goes to the request's destination."""
        report = invoke(nodes["sat"], "make", plan="make@sat,needs_a@sat,needs_c@sat", destination="edge")
        assert report["functions"] == ["make", "needs_a", "needs_c"]
        assert destination(report) == ("edge", "request")

    def test_a_plan_that_came_with_the_bundle(self, nodes: Nodes) -> None:
        """A plan that came with the bundle has the same functions run together as one that is given."""
        made = invoke(nodes["sat"], "make", plan=self.PLAN)
        report = invoke(nodes["edge"], "needs_a", key=made["key"])
        assert report["functions"] == ["needs_a", "needs_c", "needs_nothing"]


class TestNeeds:
    @pytest.mark.parametrize(
        ("functions", "fields", "size_bytes"),
        [
            ("needs_a", "a", 1000),
            ("needs_c", "c", 10),
            ("needs_a+needs_c", "a,c", 1010),
            ("needs_nothing+needs_a", "a", 1000),
            ("needs_all", "a,b,c", 101_010),
            ("needs_a+needs_all", "a,b,c", 101_010),
        ],
    )
    def test_only_the_union_is_fetched(self, nodes: Nodes, functions: str, fields: str, size_bytes: int) -> None:
        """Of the predecessor's bundle the fields that any of the functions needs are fetched, once, and no others."""
        key = invoke(nodes["sat"], "make", destination="edge")["key"]
        report = invoke(nodes["sat"], functions, key=key)
        assert [(fetch["size_bytes"], fetch["served_by"]) for fetch in report["fetches"]] == [(size_bytes, "edge")]
        first = functions.split("+")[0]
        assert left(nodes["sat"], report)[first] == fields.encode()

    def test_nothing(self, nodes: Nodes) -> None:
        """Who needs nothing of a bundle fetches nothing."""
        key = invoke(nodes["sat"], "make", destination="edge")["key"]
        report = invoke(nodes["sat"], "needs_nothing", key=key)
        assert report["fetches"] == []
        assert left(nodes["sat"], report) == {"needs_nothing": b""}

    def test_the_plan_of_a_bundle_that_is_not_fetched(self, nodes: Nodes) -> None:
        """Who needs nothing of a bundle still hands on the plan of its chain."""
        key = invoke(nodes["sat"], "make", plan="make@sat,needs_nothing@edge,needs_all@sat")["key"]
        assert destination(invoke(nodes["edge"], "needs_nothing", key=key)) == ("sat", "plan")

    def test_needs_that_are_joined_by_a_plan(self, nodes: Nodes) -> None:
        """Functions that a plan joins fetch the union as well."""
        plan = "make@sat,needs_a@edge,needs_c@edge"
        key = invoke(nodes["sat"], "make", plan=plan)["key"]
        report = invoke(nodes["edge"], "needs_a", key=key, plan=plan)
        assert [fetch["size_bytes"] for fetch in report["fetches"]] == [1010]
