"""The client library of the published system on top of `ctx.state`: keys, chains, and what becomes an error."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest

from skylark import Bundle, Context, InvalidArgument, InvalidKey, NotFound, Request, Response, Unavailable, function
from skylark.compat import (
    SkylarkKey,
    SkylarkPolicy,
    delete_bundled_state,
    delete_single_state,
    get_bundled_state,
    get_single_state,
    init_new_chain,
    init_skylark,
    init_skylark_and_fetch_state,
    start_timing,
    store_bundled_state,
    store_single_state,
)
from skylark.functions import NEEDS, REGISTRY, FunctionError, Invocation, Outcome, run
from skylark.state import Ack, Placement, Policy, Read, Stored
from skylark.wire import Buffer

OWN = "chain:task"
PREDECESSOR = "chain:far:before"


class Memory:
    """A backend that keeps bundles in a dict, by keys as `chain:task`; `failure` is raised instead, if set."""

    def __init__(self) -> None:
        self.bundles: dict[str, dict[str, bytes]] = {}
        self.calls: list[tuple[str, str, Placement | None]] = []
        self.failure: Exception | None = None

    def fetch(self, key: str, fields: Collection[str], read: Read = Read.NEAREST, min_version: int = 0) -> Bundle:
        self._note("fetch", key)
        found = self.bundles.get(short(key))
        if found is None:
            raise NotFound(f"no bundle {key!r}")
        views = {name: memoryview(value).toreadonly() for name, value in found.items() if not fields or name in fields}
        return Bundle(views, key=key if key.count(":") == 2 else key.replace(":", ":far:"))

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        key = placement.key or OWN
        self._note("store", key, placement)
        self.bundles[short(key)] = {name: bytes(value) for name, value in fields.items()}
        return Stored(key if key.count(":") == 2 else key.replace(":", ":elected:"), 1)

    def delete(self, key: str) -> bool:
        self._note("delete", key)
        return self.bundles.pop(short(key), None) is not None

    def _note(self, call: str, key: str, placement: Placement | None = None) -> None:
        self.calls.append((call, key, placement))
        if self.failure is not None:
            raise self.failure


def short(key: str) -> str:
    parts = key.split(":")
    return f"{parts[0]}:{parts[-1]}"


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Each test registers its own functions."""
    kept, needs = dict(REGISTRY), dict(NEEDS)
    REGISTRY.clear()
    NEEDS.clear()
    yield
    for now, before in ((REGISTRY, kept), (NEEDS, needs)):
        now.clear()
        now.update(before)  # type: ignore[arg-type]


@pytest.fixture
def memory() -> Memory:
    return Memory()


def running(memory: Memory, *bodies: Callable[[], Any], key: str | None = None) -> list[Any]:
    """Runs each as a function of one invocation of `chain:task`, all in one sandbox; returns what they gave."""
    results: list[Any] = []
    REGISTRY.clear()
    for number, body in enumerate(bodies):

        def act(bundle: Bundle, ctx: Context, body: Callable[[], Any] = body) -> None:
            results.append(body())

        function(name=f"f{number}")(act)
    invoke(memory, key)
    return results


def invoke(memory: Memory, key: str | None = None) -> Outcome:
    return run(Invocation(tuple(REGISTRY), "chain", "task", "here", Request(memoryview(b"")), key), memory)


def raising(memory: Memory, body: Callable[[], Any], key: str | None = None) -> BaseException:
    """The exception of a function."""
    with pytest.raises(FunctionError) as raised:
        running(memory, body, key=key)
    cause = raised.value.__cause__
    assert cause is not None
    return cause


def begun(text: str) -> str:
    """Stores a state in a new chain."""
    init_new_chain()
    return store_single_state(text)


class TestStoring:
    def test_a_single_state_is_a_field_of_text(self, memory: Memory) -> None:
        """It is stored under the invocation's own task, and the key names the node where it is."""
        [key] = running(memory, lambda: store_single_state("Grüße\0"))
        assert key == "chain:elected:task"
        assert memory.bundles == {OWN: {"value": "Grüße\0".encode()}}
        assert memory.calls == [("store", OWN, Placement())]

    def test_a_bundled_state_is_a_field_for_each_function(self, memory: Memory) -> None:
        """All of them are one bundle, stored with one request; of two with one name the last counts."""
        running(memory, lambda: store_bundled_state([("a", "1"), ("b", ""), ("a", "2")]))
        assert memory.bundles == {OWN: {"a": b"2", "b": b""}}
        assert len(memory.calls) == 1

    @pytest.mark.parametrize("policy", [Policy.STATELESS, "Stateless", "stateless", "STATELESS"])
    def test_destination_and_policy(self, memory: Memory, policy: Policy | str) -> None:
        """They go into the placement; a policy may be text as the published system writes it."""
        running(memory, lambda: store_single_state("x", "cloud1", policy))
        assert memory.calls == [("store", OWN, Placement(destination="cloud1", policy=Policy.STATELESS))]

    def test_no_destination(self, memory: Memory) -> None:
        """An empty one, which the published functions begin with, is none."""
        running(memory, lambda: store_single_state("x", ""))
        assert memory.calls == [("store", OWN, Placement())]

    def test_an_unknown_policy_is_an_error(self, memory: Memory) -> None:
        """It is not turned into the default, neither for a store nor for a fetch."""
        for act in (lambda: store_single_state("x", None, "best"), lambda: get_single_state("c:t", "best")):
            error = raising(memory, act)
            assert isinstance(error, InvalidArgument)
            assert "policy: 'best'" in str(error) and "skylark, random, stateless" in str(error)
        assert memory.calls == []

    @pytest.mark.parametrize("state", [b"bytes", 3, None])
    def test_what_is_no_text(self, memory: Memory, state: Any) -> None:
        """A state is text, as in the published library; the error names the type."""
        error = raising(memory, lambda: store_single_state(state))
        assert isinstance(error, InvalidArgument)
        assert type(state).__name__ in str(error)
        assert memory.calls == []

    def test_a_failed_write_is_no_key(self, memory: Memory) -> None:
        """The error of the store reaches the function."""
        memory.failure = Unavailable("away")
        assert raising(memory, lambda: store_single_state("x")) is memory.failure

    def test_the_same_output_is_written_over(self, memory: Memory) -> None:
        """Two stores without a fetch between them have one key, as in the published library."""
        keys = running(memory, lambda: (store_single_state("1"), store_single_state("2")))[0]
        assert keys[0] == keys[1]
        assert memory.bundles == {OWN: {"value": b"2"}}


class TestFetching:
    def test_the_predecessor_costs_no_request(self, memory: Memory) -> None:
        """The bundle that the invocation has fetched is used, by the key as given and by that of the answer."""
        memory.bundles["chain:before"] = {"value": b"x"}
        for key in ("chain:before", PREDECESSOR):
            memory.calls.clear()
            found = running(memory, lambda: get_single_state("chain:far:before"), key=key)
            assert (found, [call for call, _, _ in memory.calls]) == (["x"], ["fetch"])

    def test_another_state_is_fetched(self, memory: Memory) -> None:
        """Any key can be; the chain goes on with that of the state that was fetched last."""
        memory.bundles["other:t"] = {"f": b"x"}
        key = running(memory, lambda: (get_single_state("other:t", "Skylark"), store_single_state("y")))[0][1]
        assert SkylarkKey.parse(key).chain_id == "other"
        assert SkylarkKey.parse(key).task_id not in ("t", "task")
        assert memory.bundles[short(key)] == {"value": b"y"}

    def test_the_output_of_the_own_chain_is_the_own_task(self, memory: Memory) -> None:
        """So the caller finds its key in the answer's header, as it does of a state that a function returns."""
        memory.bundles["chain:before"] = {"value": b"x"}

        def pass_on() -> str:
            start_timing()
            init_new_chain()
            return store_single_state(get_single_state(PREDECESSOR))

        assert running(memory, pass_on, key=PREDECESSOR) == ["chain:elected:task"]

    def test_a_second_output_of_an_invocation_has_a_task_of_its_own(self, memory: Memory) -> None:
        """A fetch begins an output: what was stored before it is not written over."""
        memory.bundles["chain:before"] = {"value": b"x"}

        def twice() -> list[str]:
            return [store_single_state(get_single_state(PREDECESSOR) + str(number)) for number in range(3)]

        keys = running(memory, twice, key=PREDECESSOR)[0]
        assert keys[0] == "chain:elected:task"
        assert [memory.bundles[short(key)]["value"] for key in keys] == [b"x0", b"x1", b"x2"]
        assert {SkylarkKey.parse(key).chain_id for key in keys} == {"chain"}

    def test_functions_that_share_a_sandbox_do_not_write_over_each_other(self, memory: Memory) -> None:
        """Each one's output is a bundle of its own."""
        keys = running(memory, lambda: store_single_state("1"), lambda: store_single_state("2"))
        assert keys[0] == "chain:elected:task"
        assert [memory.bundles[short(key)]["value"] for key in keys] == [b"1", b"2"]

    def test_a_bundled_state(self, memory: Memory) -> None:
        """It comes as pairs, in order; what was stored as single is one pair."""
        memory.bundles |= {"chain:before": {"b": b"1", "a": "ä".encode()}, "c:single": {"value": b"x"}}
        found = running(
            memory, lambda: (get_bundled_state(PREDECESSOR), get_bundled_state("c:single")), key=PREDECESSOR
        )
        assert found == [([("b", "1"), ("a", "ä")], [("value", "x")])]

    def test_a_bundle_that_was_fetched_in_part_is_fetched_again(self, memory: Memory) -> None:
        """Where the function has declared which fields it needs, the state is whole nevertheless."""
        memory.bundles["chain:before"] = {"a": b"1", "b": b"2"}
        found: list[list[tuple[str, str]]] = []

        @function(needs=["a"])
        def f(bundle: Bundle, ctx: Context) -> None:
            found.append(get_bundled_state(PREDECESSOR))

        invoke(memory, PREDECESSOR)
        assert found == [[("a", "1"), ("b", "2")]]

    @pytest.mark.parametrize("fields", [{}, {"a": b"1", "b": b"2"}])
    def test_what_is_no_single_state(self, memory: Memory, fields: dict[str, bytes]) -> None:
        """The error names the fields that are there."""
        memory.bundles["c:t"] = fields
        error = raising(memory, lambda: get_single_state("c:t"))
        assert isinstance(error, InvalidArgument)
        assert (", ".join(fields) or "none") in str(error)

    def test_what_is_no_text(self, memory: Memory) -> None:
        """The error names the field."""
        memory.bundles["c:t"] = {"raster": b"\xff"}
        error = raising(memory, lambda: get_single_state("c:t"))
        assert isinstance(error, InvalidArgument)
        assert "'raster'" in str(error)

    def test_what_is_nowhere(self, memory: Memory) -> None:
        """It is NotFound, and no chain is begun."""
        assert isinstance(raising(memory, lambda: get_single_state("c:t")), NotFound)

    @pytest.mark.parametrize("key", ["", "UNKNOWN_KEY", "a:", ":a", "a:b:c:d"])
    def test_what_is_no_key(self, memory: Memory, key: str) -> None:
        """It is refused without a request."""
        assert isinstance(raising(memory, lambda: get_bundled_state(key)), InvalidKey)
        assert memory.calls == []


class TestChains:
    def test_the_own_chain_of_a_first_function_is_new(self, memory: Memory) -> None:
        """`init_new_chain` needs no other one there, until something was stored in it."""
        keys = running(memory, lambda: [begun(text) for text in "12"])[0]
        assert keys[0] == "chain:elected:task"
        assert SkylarkKey.parse(keys[1]).chain_id != "chain"
        assert [memory.bundles[short(key)]["value"] for key in keys] == [b"1", b"2"]

    def test_a_new_chain_beside_that_of_the_predecessor(self, memory: Memory) -> None:
        """A function with a predecessor can begin another chain."""
        memory.bundles["chain:before"] = {"value": b"x"}
        [key] = running(memory, lambda: begun("y"), key=PREDECESSOR)
        assert SkylarkKey.parse(key).chain_id != "chain"

    def test_an_invocation_knows_nothing_of_the_last_one(self, memory: Memory) -> None:
        """In a sandbox that is used again the next invocation begins with its own task."""
        for _ in range(2):
            assert running(memory, lambda: store_single_state("x")) == ["chain:elected:task"]


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "key", "placement"),
        [
            ("Sat", "chain:detect", Placement(destination="n", policy=Policy.RANDOM)),
            ("Edge", "chain:here:detect", Placement(destination="n", policy=Policy.RANDOM)),
            ("cloud", "chain:detect", Placement(destination="n", policy=Policy.STATELESS)),
        ],
    )
    def test_init_skylark(self, memory: Memory, mode: str, key: str, placement: Placement) -> None:
        """The function's name is the key's last part, the mode says where; the cloud has it in the end."""

        def act() -> None:
            init_skylark("detect", mode)
            store_single_state("x", "n", SkylarkPolicy.RANDOM)

        running(memory, act)
        [(_, used, placed)] = memory.calls
        assert used == key
        assert placed == Placement(key, placement.destination, placement.policy, ack=Ack.CLOUD)

    def test_init_skylark_and_fetch_state(self, memory: Memory) -> None:
        """It goes on with the predecessor's chain, under the function's name."""
        memory.bundles["chain:before"] = {"value": b"x"}

        def act() -> tuple[str, str]:
            return init_skylark_and_fetch_state("detect", PREDECESSOR), store_single_state("y")

        assert running(memory, act, key=PREDECESSOR) == [("x", "chain:elected:detect")]

    def test_an_unknown_mode(self, memory: Memory) -> None:
        """The error names the modes."""
        error = raising(memory, lambda: init_skylark("f", "Moon"))
        assert isinstance(error, InvalidArgument)
        assert "mode: 'Moon'" in str(error) and "Sat, Edge, Cloud" in str(error)


class TestDeleting:
    @pytest.mark.parametrize("delete", [delete_single_state, delete_bundled_state])
    def test_it_says_whether_there_was_one(self, memory: Memory, delete: Callable[[str], bool]) -> None:
        """Deleting twice is no error."""
        memory.bundles["c:t"] = {"value": b"x"}
        assert running(memory, lambda: (delete("c:n:t"), delete("c:n:t"))) == [(True, False)]

    def test_a_predecessor_that_was_deleted_is_gone(self, memory: Memory) -> None:
        """A fetch after that does not find what the invocation had fetched before."""
        memory.bundles["chain:before"] = {"value": b"x"}
        act = lambda: (delete_single_state(PREDECESSOR), get_single_state(PREDECESSOR))  # noqa: E731
        assert isinstance(raising(memory, act, key=PREDECESSOR), NotFound)


class TestKeys:
    @pytest.mark.parametrize(("text", "node"), [("c:n:t", "n"), ("c:t", None)])
    def test_parts(self, text: str, node: str | None) -> None:
        """A key in its parts, and as text again."""
        key = SkylarkKey.parse(text)
        assert (key.chain_id, key.node_id, key.task_id, str(key)) == ("c", node, "t", text)

    def test_outside_of_a_function(self) -> None:
        """There is no chain and no proxy: the error says what to do."""
        for act in (init_new_chain, lambda: store_single_state("x"), lambda: get_single_state("c:t")):
            with pytest.raises(RuntimeError, match="call this from a function"):
                act()

    def test_after_a_function(self, memory: Memory) -> None:
        """Once a function has ended, also by an exception, nothing runs any more."""
        raising(memory, lambda: 1 / 0)
        with pytest.raises(RuntimeError):
            init_new_chain()

    def test_the_answer_is_the_key(self, memory: Memory) -> None:
        """A ported function answers with the key as text, and no bundle is stored beside it."""

        @function
        def f(bundle: Bundle, ctx: Context) -> Response:
            return Response(store_single_state("x").encode())

        outcome = invoke(memory)
        assert outcome.response is not None
        assert (outcome.key, outcome.response.body) == (None, b"chain:elected:task")
