"""The host trusts no pointer, length, string or timing of a guest: hand-written modules attack the canonical ABI."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import pytest

from hosted_modules import NOTHING, PAGES, hosted_module, tick, words
from skylark.wire import Buffer
from skylark_proxy.errors import FunctionFailed, FunctionTimeout, TooLarge
from skylark_proxy.model import Read
from skylark_proxy.runtime import Fetched, Into, Invocation, Limits, Outcome, Placement, Stored
from skylark_proxy.runtime.module import HostedModule
from skylark_proxy.runtime.sandbox import Sandbox, SandboxConfig

END = PAGES << 16
MEMORY_BYTES = 2 * END
LARGE = 0xFFFFFFFF
DEADLINE_MS = 300
FETCH = "(call $fetch (i32.const {key}) (i32.const {size}) (i32.const {fields}) (i32.const {count}) {rest})"
REST = "(i32.const 0) (i64.const 0) (i32.const 4096)"
STORE = (
    "(call $store (i32.const 512) (i32.const {count})"
    + " (i32.const 0)" * 9
    + " (i64.const 0) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 4096))"
)
WAIT_WITHOUT_END = "(i64.store (i32.const 24) (i64.const -1))"
MANY = 10_000_000
INVALID = 28


class State:
    """Answers every call, and notes what was stored."""

    def __init__(self) -> None:
        self.stored: list[dict[str, bytes]] = []
        self.calls = 0
        self.kept: list[Buffer] = []
        self.fields: dict[str, bytes] = {"f": b"contents"}

    def fetch(self, key: str, fields: Sequence[str], read: Read, min_version: int, into: Into) -> Fetched:
        self.calls += 1
        return Fetched("c:n:t", 1, "origin", 0, self.fields)

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        self.calls += 1
        self.kept = list(fields.values())
        self.stored.append({name: bytes(value) for name, value in fields.items()})
        return Stored("c:n:t", 1)

    def delete(self, key: str) -> bool:
        self.calls += 1
        return True


@contextlib.contextmanager
def ticking() -> Iterator[None]:
    """Let guests look up every few milliseconds, as the engine of a proxy does."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.005):
            tick()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def outcome_of(
    module: HostedModule,
    state: State | None = None,
    memory_bytes: int = MEMORY_BYTES,
    deadline_ms: int = DEADLINE_MS,
) -> Outcome:
    """What an invocation gives."""
    sandbox = Sandbox(module, SandboxConfig(Limits(memory_bytes=memory_bytes, deadline_ms=deadline_ms)))
    invocation = Invocation(("f",), "chain", "task", "node", "c:n:t", b"body", "text/plain")
    try:
        with ticking():
            return sandbox.invoke(invocation, state or State())
    finally:
        sandbox.close()
        module.close()


def failure_of(module: HostedModule, state: State | None = None) -> FunctionFailed:
    with pytest.raises(FunctionFailed) as raised:
        outcome_of(module, state)
    return raised.value


def answering(*values: int, at: int = 2048) -> HostedModule:
    """A module that answers with an outcome of these words."""
    return hosted_module(f"{words(at, *values)} (i32.const {at})")


def with_response(status: int, content_type: tuple[int, int], body: tuple[int, int]) -> HostedModule:
    """A module that answers with a response; its texts are where it says."""
    return answering(0, 0, 0, 0, 1, status, *content_type, *body)


def test_a_module_that_keeps_to_the_rules() -> None:
    """What the others are compared with: nothing, and a key with a response."""
    assert outcome_of(hosted_module()) == Outcome(None, None)
    text = '(data (i32.const 512) "c:n:t text/plain hello")'
    handle = f"{words(2048, 0, 1, 512, 5, 1, 200, 518, 10, 529, 5)} (i32.const 2048)"
    outcome = outcome_of(hosted_module(handle, more=text))
    assert outcome.key == "c:n:t"
    assert outcome.response is not None
    assert (outcome.response.status, outcome.response.content_type) == (200, "text/plain")
    assert bytes(outcome.response.body) == b"hello"


@pytest.mark.parametrize("at", [LARGE, LARGE - 3, END * 4, MEMORY_BYTES - 8, MEMORY_BYTES, 2049, 2046])
def test_a_result_that_is_not_there(at: int) -> None:
    """An outcome beyond the memory, across its end or not aligned ends the guest."""
    signed = at - (at >> 31 << 32)
    error = failure_of(hosted_module(f"(i32.const {signed})"))
    assert error.cause == "trap"
    assert f"at address {at}, aligned to 4, are not in its memory" in error.detail


@pytest.mark.parametrize(
    "pointer", [(LARGE, 1), (0, LARGE), (LARGE, LARGE), (MEMORY_BYTES, 1), (MEMORY_BYTES - 1, 2), (1, MEMORY_BYTES)]
)
@pytest.mark.parametrize("place", ["key", "content type", "body", "failure"])
def test_texts_and_bytes_that_are_not_there(place: str, pointer: tuple[int, int]) -> None:
    """A pointer beyond the memory, or a length near 2^32, ends the guest, whatever it is of."""
    module = {
        "key": lambda: answering(0, 1, *pointer),
        "content type": lambda: with_response(200, pointer, (0, 0)),
        "body": lambda: with_response(200, (0, 0), pointer),
        "failure": lambda: answering(1, 0, 0, 0, 0, 0, 0, *pointer),
    }[place]()
    error = failure_of(module)
    assert error.cause == "trap"
    assert "are outside of its memory" in error.detail


@pytest.mark.parametrize("values", [(2,), (255,), (0, 2), (0, 0, 0, 0, 7)])
def test_cases_that_there_are_not(values: tuple[int, ...]) -> None:
    """A discriminant that no case has ends the guest."""
    assert "and there are 2" in failure_of(answering(*values)).detail


@pytest.mark.parametrize("text", ["\\ff", "\\c3", "a\\80", "\\ed\\a0\\80", "\\f8\\88\\80\\80"])
def test_strings_that_are_not_utf_8(text: str) -> None:
    """Half a character, a surrogate and the like end the guest; of a failure they are left out."""
    data, size = f'(data (i32.const 512) "{text}")', text.count("\\") + text.count("a\\")
    key = hosted_module(f"{words(2048, 0, 1, 512, size)} (i32.const 2048)", more=data)
    assert "is not UTF-8" in failure_of(key).detail
    told = hosted_module(f"{words(2048, 1, 0, 0, 0, 0, 512, size, 0, 0)} (i32.const 2048)", more=data)
    assert failure_of(told).detail in ("", "a")


def test_results_that_overlap() -> None:
    """Texts in one place, and a body that is the outcome itself, are read once, as they are."""
    handle = f"{words(2048, 0, 1, 512, 3, 1, 200, 512, 3, 2048, 40)} (i32.const 2048)"
    outcome = outcome_of(hosted_module(handle, more='(data (i32.const 512) "abc")'))
    assert outcome.response is not None
    assert (outcome.key, outcome.response.content_type) == ("abc", "abc")
    assert bytes(outcome.response.body)[20:22] == (200).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("call", "detail"),
    [
        (FETCH.format(key=-1, size=1, fields=0, count=0, rest=REST), "are outside of its memory"),
        (FETCH.format(key=0, size=-1, fields=0, count=0, rest=REST), "are outside of its memory"),
        (FETCH.format(key=0, size=1, fields=0, count=-1, rest=REST), "are not in its memory"),
        (FETCH.format(key=0, size=1, fields=-4, count=1, rest=REST), "are not in its memory"),
        (FETCH.format(key=0, size=1, fields=2, count=1, rest=REST), "are not in its memory"),
        (FETCH.format(key=0, size=1, fields=0, count=10_000_000, rest=REST), "are not in its memory"),
        (
            FETCH.format(key=0, size=1, fields=0, count=0, rest="(i32.const 3) (i64.const 0) (i32.const 4096)"),
            "there are 3",
        ),
        (
            FETCH.format(key=0, size=1, fields=0, count=0, rest="(i32.const 0) (i64.const 0) (i32.const -8)"),
            "not in its",
        ),
        (
            FETCH.format(key=0, size=1, fields=0, count=0, rest="(i32.const 0) (i64.const 0) (i32.const 4097)"),
            "not in its",
        ),
        ("(call $delete (i32.const 0) (i32.const 1) (i32.const -4))", "are not in its memory"),
        ("(call $delete (i32.const -1) (i32.const 1) (i32.const 4096))", "are outside of its memory"),
        ("(drop (call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 4096)))", "are outside"),
        ("(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const -4)))", "are not in its memory"),
        (
            f"{words(64, LARGE, 9)} (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 96)))",
            "are outside",
        ),
        ("(drop (call $environ_sizes_get (i32.const -4) (i32.const 4096)))", "are not in its memory"),
        ("(drop (call $poll_oneoff (i32.const -48) (i32.const 0) (i32.const 1) (i32.const 4096)))", "are outside"),
        (
            "(drop (call $poll_oneoff (i32.const 0) (i32.const -32) (i32.const 1) (i32.const 4096)))",
            "are not in its memory",
        ),
        (
            "(drop (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 1) (i32.const -4)))",
            "are not in its memory",
        ),
    ],
)
def test_arguments_that_are_not_there(call: str, detail: str) -> None:
    """A call with a pointer, length or case that the guest does not have ends it, and nothing is done."""
    state = State()
    error = failure_of(hosted_module(f"{call} {NOTHING}"), state)
    assert error.cause == "trap"
    assert detail in error.detail
    assert state.calls == 0


def test_counts_that_nobody_needs() -> None:
    """Ten million fields that are all there, and as many subscriptions, are refused at once: an error, no trap."""
    state, pages = State(), 8 * MANY // (1 << 16) + 2
    call = FETCH.format(key=0, size=1, fields=8192, count=MANY, rest=REST)
    answer = f"{words(2048, 0, 0, 0, 0, 1, 200, 0, 0, 4096, 40)} (i32.const 2048)"
    outcome = outcome_of(hosted_module(f"{call} {answer}", pages=pages), state, (pages + 4) << 16)
    assert outcome.response is not None
    result = bytes(outcome.response.body)
    assert (result[0], result[8]) == (1, 4)  # the error's case `invalid-argument`
    for call in (
        f"(call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const {MANY}) (i32.const 4096))",
        f"(call $fd_write (i32.const 1) (i32.const 0) (i32.const {MANY}) (i32.const 4096))",
    ):
        refused = f"(if (i32.ne {call} (i32.const {INVALID})) (then unreachable))"
        assert outcome_of(hosted_module(f"{refused} {NOTHING}"), state) == Outcome(None, None)
    assert state.calls == 0


@pytest.mark.parametrize("address", [-1, -8, MEMORY_BYTES, MEMORY_BYTES - 1])
def test_an_allocator_that_lies(address: int) -> None:
    """Memory that the guest does not have is not written."""
    error = failure_of(hosted_module(realloc=f"(i32.const {address})"))
    assert error.cause == "trap"
    assert "are not in its memory" in error.detail


def test_an_allocator_that_is_not_aligned() -> None:
    """A list of pairs at an odd address ends the guest."""
    assert "aligned to 4" in failure_of(hosted_module(realloc="(i32.const 4097)")).detail


def test_an_allocator_that_has_nothing() -> None:
    """Address 0 says that there is no room: of a body, the caller is told so."""
    with pytest.raises(TooLarge):
        outcome_of(hosted_module(realloc="(i32.const 0)"))


def test_an_allocator_that_gives_the_same_again() -> None:
    """Overlapping blocks harm the guest alone."""
    assert outcome_of(hosted_module(realloc="(i32.const 8192)")) == Outcome(None, None)
    state = State()
    call = FETCH.format(key=0, size=1, fields=0, count=0, rest=REST)
    assert outcome_of(hosted_module(f"{call} {NOTHING}", realloc="(i32.const 4096)"), state) == Outcome(None, None)
    assert state.calls == 1


@pytest.mark.parametrize(
    "import_", ["(call $delete (i32.const 0) (i32.const 1) (i32.const 4096))", "(call $proc_exit (i32.const 0))"]
)
@pytest.mark.parametrize("where", ["realloc", "free", "post"])
def test_allocators_that_call_the_host(where: str, import_: str) -> None:
    """While memory is allocated or freed, no call leaves the guest."""
    state = State()
    store = STORE.format(count=1)
    fields = words(512, 0, 1, 600, 4)
    body = f"{import_} (i32.const 8192)" if where == "realloc" else import_
    handle = f"{fields} {store} {NOTHING}"
    modules = {"realloc": {"realloc": body}, "free": {"free": body}, "post": {"post": body}}
    error = failure_of(partial(hosted_module, handle, PAGES)(**modules[where]), state)
    assert "called the host while its memory was being allocated or freed" in error.detail
    assert state.calls == (0 if where == "realloc" else 1)


def test_an_allocator_that_does_not_end() -> None:
    """A loop in `realloc` is ended at the deadline, and holds up nobody: the interpreter's lock is free meanwhile."""
    with pytest.raises(FunctionTimeout):
        outcome_of(hosted_module(realloc="(loop (br 0)) (i32.const 8192)"))


def test_an_allocator_that_overruns_the_stack() -> None:
    """Endless recursion in `realloc` is a trap, also in the middle of an import."""
    more = "(func $deep (result i32) (call $deep))"
    assert "stack" in failure_of(hosted_module(realloc="(call $deep)", more=more)).detail
    call = FETCH.format(key=0, size=1, fields=0, count=0, rest=REST)
    busy = f"(global.set $free (i32.const 8)) {call} {NOTHING}"
    realloc = "(if (result i32) (i32.eq (global.get $free) (i32.const 8)) (then (call $deep)) (else (i32.const 8192)))"
    assert "stack" in failure_of(hosted_module(busy, realloc=realloc, more=more)).detail


def test_a_stack_that_overflows_at_every_depth_of_an_import() -> None:
    """However deep a guest is when it calls the host, the host has a stack, and the guest's overflow is a trap."""
    state = State()
    call = FETCH.format(key=0, size=1, fields=0, count=0, rest=REST)
    deep = f"(func $deep (param i32) {call} (call $deep (i32.add (local.get 0) (i32.const 1))) {call})"
    realloc = "(i32.const 8192)"
    module = hosted_module(f"(call $deep (i32.const 0)) {NOTHING}", realloc=realloc, more=deep)
    with pytest.raises(FunctionFailed, match="stack"):
        outcome_of(module, state, deadline_ms=60_000)
    assert state.calls > 1000


def test_a_field_that_changes_once_it_is_stored() -> None:
    """What was stored is what the guest had when it called; it changes it in `realloc`, before the call is over."""
    state = State()
    fields = f"{words(512, 600, 1, 604, 4)} {words(600, 0x66, 0x31313131)}"
    store = STORE.format(count=1)
    realloc = f"{words(604, 0x32323232)} (i32.const 8192)"
    assert outcome_of(hosted_module(f"{fields} {store} {NOTHING}", realloc=realloc), state) == Outcome(None, None)
    assert state.stored == [{"f": b"1111"}]


def test_views_end_with_the_call() -> None:
    """Who keeps a field beyond its call gets an error, not what is in that memory later."""
    state = State()
    outcome_of(
        hosted_module(f"{words(512, 600, 1, 604, 4)} {words(600, 0x66)} {STORE.format(count=1)} {NOTHING}"), state
    )
    assert len(state.stored) == 1
    with pytest.raises(ValueError, match="released memoryview"):
        bytes(state.kept[0])


def test_one_store_with_a_name_twice() -> None:
    """Two fields of one name are one field, as in a dict."""
    state = State()
    fields = f"{words(512, 600, 1, 604, 1, 600, 1, 605, 1)} {words(600, 0x66, 0x3231)}"
    store = STORE.format(count=2)
    outcome_of(hosted_module(f"{fields} {store} {NOTHING}"), state)
    assert state.stored == [{"f": b"2"}]


def test_a_wait_ends_at_the_deadline() -> None:
    """A guest that waits for a clock is woken up at its deadline, however long it asked for."""
    wait = "(drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 4096)))"
    with pytest.raises(FunctionTimeout):
        outcome_of(hosted_module(f"{WAIT_WITHOUT_END} {wait} {NOTHING}"))


def test_closing_the_output_closes_nothing() -> None:
    """There is nothing of the host that a guest could close."""
    refused = "(if (i32.ne (call $fd_close (i32.const 1)) (i32.const 8)) (then unreachable))"
    assert outcome_of(hosted_module(f"{refused} {NOTHING}")) == Outcome(None, None)
