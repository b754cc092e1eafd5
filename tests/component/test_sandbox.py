"""Real components: what a function does wrong is told to its caller, and harms nobody else."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from component.nodes import NODE, Node, Run, limited
from skylark_proxy.errors import (
    Forbidden,
    FunctionFailed,
    FunctionTimeout,
    InvalidArgument,
    NoRoute,
    NotFound,
    OutboxFull,
    Overloaded,
    PeerTimeout,
    PeerUnreachable,
    SkylarkError,
    Stale,
    StoreTimeout,
    StoreUnavailable,
    TooLarge,
    TooManyBundles,
    UnknownNode,
)
from skylark_proxy.model import Policy, Read
from skylark_proxy.propagation import LOST, UNREACHABLE
from skylark_proxy.runtime import Manifest, Placement

MEGABYTE = 1 << 20
TIGHT = {"memory_bytes": 128 * MEGABYTE, "deadline_ms": 20_000}
FRESH = Manifest(ready=0)
SECRET = "SKYLARK_TEST_SECRET"


@pytest.fixture(scope="module")
def hostile(run: Run) -> Iterator[Node]:
    with run("hostile", limited(FRESH, **TIGHT)) as node:
        yield node


@pytest.fixture(scope="module")
def impatient(run: Run) -> Iterator[Node]:
    """Hostile functions with half a second each."""
    with run("hostile", limited(FRESH, **TIGHT | {"deadline_ms": 500})) as node:
        yield node


@pytest.fixture
def stateful(run: Run) -> Iterator[Node]:
    with run("stateful") as node:
        yield node


def unharmed(node: Node) -> None:
    """Another invocation works."""
    assert node.answer("good", body=b"still here") == b"still here"


def fails(node: Node, function: str, body: bytes | str = b"", error: type[FunctionFailed] = FunctionFailed) -> Any:
    """The error of an invocation that fails, and names its function, and harms nobody."""
    with pytest.raises(error) as raised:
        node.invoke(function, body=body)
    assert raised.value.function == function
    assert f"function {function!r} failed ({raised.value.cause}): {raised.value.detail}" == raised.value.message
    unharmed(node)
    return raised.value


def test_a_good_function_answers(hostile: Node) -> None:
    """What the other tests compare with."""
    unharmed(hostile)


@pytest.mark.parametrize("function", ["loop_for_ever", "sleep_an_hour"])
def test_what_does_not_end_is_ended(impatient: Node, function: str) -> None:
    """A loop and a sleep are ended at the deadline, not long after, and the error says which deadline."""
    started = time.monotonic()
    error = fails(impatient, function, error=FunctionTimeout)
    assert error.detail == "it did not end within 500 ms"
    assert 0.5 <= time.monotonic() - started < 5


def test_a_catch_all_does_not_save_a_loop(impatient: Node) -> None:
    """The end at the deadline is no exception that a function could catch and go on."""
    fails(
        impatient,
        "attack",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        FunctionTimeout,
    )


def test_a_failure_of_any_length_is_told_in_short(hostile: Node) -> None:
    """Of an error that a guest makes as long as it likes, the end is told."""
    error = fails(hostile, "attack", "raise ValueError('x' * 5_000_000 + 'the reason')")
    assert error.cause == "ValueError"
    assert error.detail.endswith("the reason")
    assert len(error.message) + len(error.traceback) < 200_000


def test_lists_and_texts_of_any_length_are_refused(hostile: Node) -> None:
    """What a guest hands to the host past its SDK is bounded before anything is made of it."""
    act = """
def told(call):
    try: call()
    except Exception as error: return repr(error)[:200]
read = types.Read.NEAREST
first = told(lambda: bundles.fetch('chain-1:t', ['f'] * 100_000, read, 0))
second = told(lambda: bundles.fetch('chain-1:' + 'x' * 5_000_000, [], read, 0))
third = told(lambda: storing([('f', b'')] * 100_000))
fourth = told(lambda: storing([('x' * 5_000_000, b'')]))
answer = skylark.Response(f'{first}|{second}|{third}|{fourth}'.encode())
"""
    first, second, third, fourth = hostile.answer("attack", body=act).decode().split("|")
    assert "list: 100000 is not valid; expected at most 4096" in first
    assert "text: 5000008 is not valid; expected at most 1048576" in second
    assert "list: 100000 is not valid; expected at most 65535" in third
    assert "text: 5000000 is not valid; expected at most 1048576" in fourth
    assert hostile.state.calls == []
    unharmed(hostile)


WAITS = {
    "select": "select.select([], [], [], 3600)",
    "poll": "select.poll().poll(3_600_000)",
    "asyncio": "asyncio.run(asyncio.sleep(3600))",
    "again and again": "while True:\n    try: select.select([], [], [], 3600)\n    except BaseException: pass",
    "for as long as a number can say": "select.select([], [], [], 9e9)",
}


@pytest.mark.parametrize("act", WAITS.values(), ids=WAITS)
def test_what_waits_inside_wasi_is_ended(impatient: Node, act: str) -> None:
    """A guest that is blocked in a call to WASI is ended at its deadline, and its thread comes back."""
    before = threading.active_count()
    assert fails(impatient, "attack", act, FunctionTimeout).detail == "it did not end within 500 ms"
    assert threading.active_count() == before


def test_a_wait_within_the_deadline_is_as_long_as_asked(impatient: Node) -> None:
    """Short waits last as long as they say and no longer, however many there are."""
    once = "t = time.monotonic()\nselect.select([], [], [], 0.1)\n"
    once += "answer = skylark.Response(str(time.monotonic() - t).encode())"
    assert 0.1 <= float(impatient.answer("attack", body=once)) < 0.5
    often = "for _ in range(500): select.select([], [], [], 1e-6)\nanswer = skylark.Response(b'done')"
    assert impatient.answer("attack", body=often) == b"done"


def test_a_function_may_use_asyncio(hostile: Node) -> None:
    """The decorator tells authors to use `asyncio.run` inside a plain function: so it works in the sandbox."""
    hostile.invoke("block_in_asyncio", body=b"0.01")


COUNT = """
kept = []
try:
    while True:
        kept.append(bytearray(1 << 20))
except MemoryError:
    count = len(kept)
    kept.clear()
answer = skylark.Response(str(count).encode())
"""


def test_a_function_that_eats_memory_is_stopped(hostile: Node) -> None:
    """Beyond the manifest's limit, which counts the interpreter in, the guest gets a MemoryError."""
    assert fails(hostile, "eat_memory").cause == "MemoryError"
    assert 32 < int(hostile.answer("attack", body=COUNT)) < TIGHT["memory_bytes"] // MEGABYTE
    unharmed(hostile)


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        ("open('/etc/passwd')", "FileNotFoundError"),
        ("os.listdir('/')", "FileNotFoundError"),
        ("open('/proc/self/environ')", "FileNotFoundError"),
        ("open('/exchange/f', 'w')", "FileNotFoundError"),
        ("os.listdir('..')", "FileNotFoundError"),
        ("open('/new', 'w')", "FileNotFoundError"),
        ("os.mkdir('/new')", "FileNotFoundError"),
        ("os.symlink('/etc/passwd', '/link')", "FileNotFoundError"),
        ("os.rename('/etc', '/stolen')", "FileNotFoundError"),
        ("os.link('/etc/passwd', '/link')", "FileNotFoundError"),
        ("open(3)", "OSError"),
        ("os.pipe()", "AttributeError"),
        ("import tempfile; tempfile.mkstemp()", "FileNotFoundError"),
        ("socket.create_connection(('127.0.0.1', 22), timeout=5)", "PermissionError"),
        ("socket.socket().connect(('127.0.0.1', 22))", "PermissionError"),
        ("socket.create_server(('127.0.0.1', 0))", "PermissionError"),
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))", "PermissionError"),
        ("socket.getaddrinfo('localhost', 80)", "PermissionError"),
        ("input()", "EOFError"),
        ("os.fork()", "AttributeError"),
        ("os.kill(1, 9)", "AttributeError"),
        ("os.system('true')", "AttributeError"),
        ("import _thread; _thread.start_new_thread(print, ())", "RuntimeError"),
    ],
)
def test_what_lies_outside_cannot_be_reached(hostile: Node, act: str, cause: str) -> None:
    """No host file, no socket, no name look-up, no process, no thread: an exception in the function, with its line."""
    error = fails(hostile, "attack", act)
    assert error.cause == cause
    assert 'File "<string>", line 1, in <module>' in error.traceback


@pytest.mark.parametrize("function", ["connect", "listen"])
def test_sockets_are_denied_to_a_function_of_a_file(hostile: Node, function: str) -> None:
    """As above, by functions that are not made at run time."""
    assert fails(hostile, function, b"127.0.0.1 22").cause in ("gaierror", "PermissionError")


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        ("99, ''", "status: 99 is not valid; expected 200 to 599"),
        ("65535, ''", "expected 200 to 599"),
        ("200, 'a\\r\\nSet-Cookie: b'", "content-type"),
        ("200, '\\u706b'", "content-type"),
        ("200, 'x' * 5_000_000", "text of 5000000, at most 1048576"),
    ],
)
def test_the_host_does_not_trust_an_answer(hostile: Node, response: str, detail: str) -> None:
    """A guest that goes past the SDK's checks is checked again: status and content type."""
    error = fails(hostile, "attack", f"responding({response})")
    assert error.cause == "response"
    assert detail in error.detail


@pytest.mark.parametrize("act", ["raise ValueError('a\\ud800b')", "raise KeyError('größe ∞')"])
def test_any_text_may_be_raised(hostile: Node, act: str) -> None:
    """A message of any characters, also those that no UTF-8 has, arrives with its traceback."""
    error = fails(hostile, "attack", act)
    assert error.cause in ("ValueError", "KeyError")
    assert error.traceback.startswith("Traceback (most recent call last):")


def test_an_exception_arrives_with_the_line_of_its_file(stateful: Node) -> None:
    """The caller sees the class, the message and, in the traceback, the source line of the function's own file."""
    with pytest.raises(FunctionFailed) as raised:
        stateful.invoke("raises")
    error = raised.value
    assert (error.function, error.cause, error.detail) == ("raises", "ZeroDivisionError", "on purpose: größer als ∞")
    assert re.search(
        r'File ".*stateful\.py", line \d+, in raises\n    raise ZeroDivisionError.*# the line that', error.traceback
    )


@pytest.mark.parametrize("exception", ["KeyboardInterrupt", "GeneratorExit", "BaseException('x')"])
def test_exceptions_that_are_no_errors_end_the_sandbox_alone(hostile: Node, exception: str) -> None:
    """What is no `Exception` is an error like others, with its class and its traceback."""
    error = fails(hostile, "attack", f"raise {exception}")
    assert error.cause == exception.partition("(")[0]
    assert "Traceback" in error.traceback


def test_sys_exit_is_an_error(hostile: Node) -> None:
    """`sys.exit` ends the function, and not the node."""
    error = fails(hostile, "call_sys_exit")
    assert (error.cause, error.detail) == ("SystemExit", "3")


def test_os_exit_is_an_error(hostile: Node) -> None:
    """`os._exit` ends the sandbox, and not the node."""
    assert fails(hostile, "call_os_exit").cause == "exit"


def test_endless_recursion_is_an_error(hostile: Node) -> None:
    """In Python it is a RecursionError; in C code, which overruns the sandbox's stack, it ends the sandbox."""
    assert fails(hostile, "recurse_for_ever").cause == "RecursionError"
    error = fails(hostile, "attack", "x = []\nfor _ in range(300_000): x = [x]\nrepr(x)")
    assert error.cause in ("trap", "RecursionError")


def test_abort_is_an_error(hostile: Node) -> None:
    """`os.abort` is a trap of the sandbox."""
    assert fails(hostile, "attack", "os.abort()").cause == "trap"


@pytest.mark.parametrize(
    ("value", "cause", "detail"),
    [
        ("'text'", "TypeError", "returned str; expected a dict"),
        ("3", "TypeError", "returned int; expected a dict"),
        ("[b'x']", "TypeError", "returned list; expected a dict"),
        ("{'a': 'text'}", "TypeError", "returned str in field 'a'"),
        ("{'a': None}", "TypeError", "returned NoneType in field 'a'"),
        ("{1: b'x'}", "TypeError", "returned the field 1"),
        ("{'a:b': b'x'}", "TypeError", "returned the field 'a:b'"),
        ("skylark.Response('text')", "TypeError", "a body of str"),
        ("skylark.Response(b'', 'a\\nb')", "TypeError", "content type 'a\\nb'"),
        ("skylark.Response(b'', status=99)", "ValueError", "status 99; expected 200 to 599"),
        ("skylark.Response(b'', status=600)", "ValueError", "status 600; expected 200 to 599"),
        ("skylark.Response(b'', status=None)", "ValueError", "status None"),
    ],
)
def test_nonsense_is_named(hostile: Node, value: str, cause: str, detail: str) -> None:
    """What a function must not return is an error that says what it returned."""
    error = fails(hostile, "nonsense", value)
    assert error.cause == cause
    assert detail.replace("\n", "\\n") in error.detail


def test_much_output_is_cut(hostile: Node, caplog: pytest.LogCaptureFixture) -> None:
    """10 MB do no harm: each stream has its first 1,000 lines in the log, then how many were left out."""
    with caplog.at_level(logging.INFO, "skylark.guest"):
        hostile.invoke("print_ten_megabytes")
    lines = [record.getMessage() for record in caplog.records if record.name == "skylark.guest"]
    stdout = [line for line in lines if " stdout: " in line]
    assert len(stdout) == 1001
    assert stdout[0] == "print_ten_megabytes chain-1 stdout: " + "x" * 999
    assert stdout[-1].endswith("further lines are not logged)")
    assert max(map(len, lines)) < 20_000
    unharmed(hostile)


def test_the_environment_is_that_of_the_manifest(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's own variables are not the function's."""
    monkeypatch.setenv(SECRET, "secret")
    with run("hostile", Manifest(ready=0, environment={"LEVEL": "7", "EMPTY": ""})) as node:
        assert node.answer("environment") == repr([("EMPTY", ""), ("LEVEL", "7")]).encode()
    with run("hostile") as node:
        assert node.answer("environment") == b"[]"


def test_an_unknown_function_is_not_invoked(hostile: Node) -> None:
    """The error lists what the node has; no sandbox is made for it."""
    with pytest.raises(NotFound, match=r"no function 'missing' .*good"):
        hostile.invoke("missing")
    with pytest.raises(InvalidArgument, match="one or more functions"):
        hostile.invoke()
    unharmed(hostile)


def test_a_body_that_does_not_fit_is_refused(hostile: Node) -> None:
    """The caller is told the size and the limit before the function runs."""
    with pytest.raises(TooLarge) as raised:
        hostile.invoke("good", body=bytes(100 * MEGABYTE))
    assert (raised.value.size_bytes, raised.value.limit_bytes) == (100 * MEGABYTE, TIGHT["memory_bytes"])
    unharmed(hostile)


def test_a_bundle_that_does_not_fit_is_an_error_of_the_fetch(hostile: Node) -> None:
    """The function gets an exception with the numbers, and can go on."""
    hostile.state.bundles["chain-1:large"] = (1, {"f": bytes(100 * MEGABYTE)})
    act = "try: ctx.state.fetch('chain-1:large')\n"
    act += "except skylark.TooLarge as error: answer = skylark.Response(str(error).encode())"
    assert hostile.answer("attack", body=act).decode() == f"{100 * MEGABYTE} bytes, the limit is {128 * MEGABYTE}"
    hostile.state.bundles.clear()
    hostile.state.calls.clear()
    unharmed(hostile)


def test_a_thousand_stores_do_not_grow_a_sandbox(hostile: Node) -> None:
    """What the bindings copy for each store is given back: a sandbox of 128 MB stores 1 MB a thousand times."""
    act = "data = bytes(1 << 20)\nfor _ in range(1000): ctx.state.store({'f': data})"
    hostile.invoke("attack", body=act)
    assert len(hostile.state.calls) == 1000
    hostile.state.bundles.clear()
    hostile.state.calls.clear()


@pytest.mark.parametrize("size_bytes", [0, 1, 255, 16_384, 16_385, 5_000_000])
def test_bytes_of_every_size_cross_unchanged(stateful: Node, size_bytes: int) -> None:
    """Body, answer, stored and fetched fields are the same bytes, whatever their size."""
    body = (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]
    produced = stateful.invoke("produce", body=str(size_bytes))
    assert produced.key is not None
    assert stateful.state.bundles[produced.key] == (1, {"produce": body})
    relayed = stateful.invoke("relay", body=body, key=produced.key, content_type="text/plain; x=1")
    assert relayed.response is not None
    assert bytes(relayed.response.body) == body
    assert (relayed.response.status, relayed.response.content_type) == (200, "text/plain; x=1")
    assert relayed.key is not None
    assert stateful.state.bundles[relayed.key] == (1, {"produce": body})


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("size_bytes", [0, 1, 256, 257, 100_000, 5_000_000])
def test_what_the_host_writes_to_the_guest_is_what_it_gets(run: Run, size_bytes: int, reuse: bool) -> None:
    """A field that another thread has put into the guest's memory arrives as one that is copied, call after call."""
    body = (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]
    with run("stateful", Manifest(ready=0, reuse=reuse)) as node:
        node.state.lands = True
        for number in range(3):
            node.state.bundles[f"c:{number}"] = (1, {"own": body, "other": b"x"})
            outcome = node.invoke("relay", body=body, key=f"c:{number}")
            assert outcome.key is not None
            assert node.state.bundles[outcome.key] == (1, {"own": body, "other": b"x"})


def test_what_does_not_fit_when_it_lands(hostile: Node) -> None:
    """The function is told as it is of what is copied."""
    hostile.state.bundles["chain-1:large"] = (1, {"f": bytes(100 * MEGABYTE)})
    hostile.state.lands = True
    act = "try: ctx.state.fetch('chain-1:large')\n"
    act += "except skylark.TooLarge as error: answer = skylark.Response(str(error).encode())"
    assert hostile.answer("attack", body=act).decode() == f"{100 * MEGABYTE} bytes, the limit is {128 * MEGABYTE}"
    hostile.state.lands = False
    hostile.state.bundles.clear()
    hostile.state.calls.clear()


def test_fused_functions_fetch_and_store_once(stateful: Node) -> None:
    """Three functions see each other's fields, with one fetch before them and one store after them."""
    stateful.state.bundles[f"chain-1:{NODE}:before"] = (4, {"zero": b"0"})
    outcome = stateful.invoke("first", "second", "third", key=f"chain-1:{NODE}:before")
    fields = {
        "first": b"1 after zero",
        "second": b"2 after zero,first",
        "shared": b"1 after zero",
        "third": b"3 after zero,first,second,shared",
    }
    fetch = ("fetch", f"chain-1:{NODE}:before", (), Read.NEAREST, 0)
    assert stateful.state.calls == [fetch, ("store", fields, Placement())]
    assert outcome.response is not None
    assert bytes(outcome.response.body) == b"third of chain-1"
    assert outcome.key is not None
    assert stateful.state.bundles[outcome.key] == (1, fields)


def test_a_failure_in_a_fusion_stores_nothing(stateful: Node) -> None:
    """All succeed or none: the error names the one that failed, and no bundle has been stored."""
    with pytest.raises(FunctionFailed) as raised:
        stateful.invoke("first", "raises", "third")
    assert raised.value.function == "raises"
    assert stateful.state.calls == []


def test_a_function_is_told_who_and_where_it_is(stateful: Node) -> None:
    """Context and bundle carry what the invocation and the fetch say."""
    stateful.state.bundles["c:t"] = (7, {"b": b"", "a": b""})
    outcome = stateful.invoke("looks_around", key="c:t", content_type="image/png")
    assert outcome.response is not None
    assert json.loads(bytes(outcome.response.body)) == {
        "context": ["looks_around", "chain-1", "task-1", NODE, "image/png"],
        "bundle": ["c:t", 7, "origin-7", 2, ["a", "b"]],
    }


def called(node: Node, call: str, key: str = "", **arguments: object) -> Any:
    """The result of one state call of a function."""
    return json.loads(node.answer("calls_state", body=json.dumps({"call": call, "key": key, "arguments": arguments})))


def test_state_can_be_fetched_stored_and_deleted(stateful: Node) -> None:
    """The explicit calls reach the host with all their arguments, and their results come back."""
    stateful.state.bundles["c:t"] = (1, {"a": b"1", "b": b"2"})
    assert called(stateful, "fetch", "c:t")["fields"] == {"a": "1", "b": "2"}
    assert called(stateful, "fetch", "c:t", fields=["b", "missing"])["fields"] == {"b": "2"}
    stored = called(stateful, "store")
    assert stored["version"] == 1
    placed = called(stateful, "store", key="", destination="n9", policy="stateless", ttl_ms=2**40, expected_version=0)
    assert placed["version"] == 1
    assert called(stateful, "delete", "c:t") is True
    assert called(stateful, "delete", "c:t") is False
    assert stateful.state.calls == [
        ("fetch", "c:t", (), Read.NEAREST, 0),
        ("fetch", "c:t", ("b", "missing"), Read.NEAREST, 0),
        ("store", {"f": b"stored"}, Placement()),
        ("store", {"f": b"stored"}, Placement(None, "n9", Policy.STATELESS, 2**40, 0)),
        ("delete", "c:t"),
        ("delete", "c:t"),
    ]


@pytest.mark.parametrize("read", list(Read))
def test_a_fetch_says_what_it_is_content_with(stateful: Node, read: Read) -> None:
    """The SDK's choices and the host's have the same names; the version that was seen arrives whole."""
    stateful.state.bundles["c:t"] = (2**53 - 1, {})
    assert called(stateful, "fetch", "c:t", read=read.value, min_version=2**53 - 1)["version"] == 2**53 - 1
    assert stateful.state.calls == [("fetch", "c:t", (), read, 2**53 - 1)]


@pytest.mark.parametrize(
    ("age_ms", "stale"), [(None, None), (0, None), (2**40, UNREACHABLE), (7, LOST), (None, UNREACHABLE)]
)
def test_a_copy_says_its_age_and_why_it_may_be_old(stateful: Node, age_ms: int | None, stale: str | None) -> None:
    """What the host knows of a copy arrives; the owner's own bundle says neither."""
    stateful.state.bundles["c:t"] = (3, {})
    stateful.state.age_ms, stateful.state.stale = age_ms, stale
    assert called(stateful, "fetch", "c:t") == {
        "fields": {}, "key": "c:t", "version": 3, "age_ms": age_ms, "stale": stale,
    }  # fmt: skip


@pytest.mark.parametrize("policy", list(Policy))
def test_every_policy_arrives(stateful: Node, policy: Policy) -> None:
    """The SDK's policies and the host's have the same names."""
    called(stateful, "store", policy=policy.value)
    assert stateful.state.calls == [("store", {"f": b"stored"}, Placement(policy=policy))]


def test_a_version_conflict_has_its_numbers(stateful: Node) -> None:
    """A writer that lost the race learns what it expected and what is there."""
    stateful.state.bundles[f"c:{NODE}:t"] = (5, {})
    body = json.dumps({"call": "store", "arguments": {"key": f"c:{NODE}:t", "expected_version": 2}})
    answer = json.loads(stateful.answer("calls_state", body=body))
    assert (answer["raised"], answer["numbers"]) == ("Conflict", {"expected": 2, "actual": 5})


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (TooLarge("bundle", 2**40, 9), "TooLarge"),
        (NotFound("bundle", "c:t", ("a", "b")), "NotFound"),
        (InvalidArgument("fields", "*", "a name"), "InvalidArgument"),
        (UnknownNode("n", ("a",)), "InvalidArgument"),
        (StoreUnavailable("Redis is away"), "Unavailable"),
        (Stale("c:n:t", 3, 4, "its owner is away"), "Unavailable"),
        (StoreTimeout("Redis is slow"), "TimedOut"),
        (PeerUnreachable("n", "refused"), "Unavailable"),
        (PeerTimeout("n", "slow"), "TimedOut"),
        (NoRoute("a", "b"), "Unavailable"),
        (Overloaded("too much"), "Unavailable"),
        (TooManyBundles("c", "n", 9), "Unavailable"),
        (OutboxFull(9, 9), "Unavailable"),
        (Forbidden("bundle 'd:t'", "those of its own chain"), "Forbidden"),
        (SkylarkError("something"), "Internal"),
        (RuntimeError("a bug"), "Internal"),
    ],
)
@pytest.mark.parametrize("call", ["fetch", "store", "delete"])
def test_every_error_of_the_host_has_its_class(stateful: Node, call: str, failure: Exception, raised: str) -> None:
    """The host's errors arrive as the SDK's, with their sentence or numbers; a bug in the host as Internal, no trap."""
    stateful.state.failure = failure
    answer = called(stateful, call, "c:t")
    assert answer["raised"] == raised
    if raised == "TooLarge":
        assert answer["numbers"] == {"size_bytes": 2**40, "limit_bytes": 9}
    else:
        said = str(failure) if isinstance(failure, SkylarkError) else "RuntimeError; the node's log says more"
        assert said in answer["message"]


def test_a_fresh_sandbox_knows_nothing_of_the_last(stateful: Node) -> None:
    """Without `reuse` every invocation begins with the globals as they were built."""
    assert [stateful.answer("counts_calls") for _ in range(3)] == [b"1", b"1", b"1"]


def test_a_reused_sandbox_keeps_its_globals(run: Run) -> None:
    """With `reuse` the interpreter stays, also after an exception."""
    with run("stateful", Manifest(ready=0, reuse=True)) as node:
        assert [node.answer("counts_calls") for _ in range(3)] == [b"1", b"2", b"3"]
        with pytest.raises(FunctionFailed):
            node.invoke("raises")
        assert node.answer("counts_calls", body=bytes(100_000)) == b"4"


def test_a_sandbox_that_was_ended_is_not_reused(run: Run) -> None:
    """After a deadline, an exit or a trap the next invocation has a new sandbox."""
    with run("hostile", limited(Manifest(ready=0, reuse=True), deadline_ms=500)) as node:
        node.invoke("attack", body="hosted.mark = 1")
        assert node.answer("attack", body="answer = skylark.Response(str(hosted.mark).encode())") == b"1"
        for act in ("while True: pass", "os._exit(1)", "os.abort()"):
            with pytest.raises(FunctionFailed):
                node.invoke("attack", body=act)
            answer = node.answer("attack", body="answer = skylark.Response(str(hasattr(hosted, 'mark')).encode())")
            assert answer == b"False"
            node.invoke("attack", body="hosted.mark = 1")


def test_many_threads_do_not_mix_up_their_bytes(run: Run) -> None:
    """Eight threads with 25 invocations each, with state, get what is their own."""
    with run("stateful", Manifest(ready=4)) as node:

        def chain(number: int) -> None:
            for step in range(25):
                size_bytes = 20_000 if step % 3 == 0 else 100
                body = f"{number}-{step}-".encode() * (size_bytes // 8)
                node.state.bundles[f"c:{number}-{step}"] = (1, {"own": body})
                outcome = node.invoke("relay", body=body, key=f"c:{number}-{step}")
                assert outcome.response is not None
                assert outcome.key is not None
                assert bytes(outcome.response.body) == body
                assert node.state.bundles[outcome.key] == (1, {"own": body})

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(chain, range(8)))


def test_failures_do_not_disturb_the_others(run: Run) -> None:
    """Good and bad invocations at the same time: each bad one has its own error, each good one its answer."""
    acts: list[tuple[Callable[[Node], object], str]] = [
        (lambda node: node.invoke("loop_for_ever"), "deadline"),
        (lambda node: node.invoke("call_os_exit"), "exit"),
        (lambda node: node.invoke("nonsense", body="3"), "TypeError"),
        (lambda node: node.invoke("attack", body="os.abort()"), "trap"),
    ]
    with run("hostile", limited(FRESH, **TIGHT | {"deadline_ms": 2000})) as node:

        def bad(number: int) -> None:
            act, cause = acts[number % len(acts)]
            with pytest.raises(FunctionFailed) as raised:
                act(node)
            assert raised.value.cause == cause

        def good(number: int) -> None:
            assert node.answer("good", body=str(number)) == str(number).encode()

        with ThreadPoolExecutor(8) as threads:
            for result in [threads.submit(good if number % 2 else bad, number) for number in range(60)]:
                result.result()
        unharmed(node)


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", "a WebAssembly component"), (b"\0asm\x01\0\0\0", "a WebAssembly component"), (None, "a readable file")],
)
def test_what_is_no_component_is_refused(
    run: Run, stateful: Node, tmp_path: Path, content: bytes | None, error: str
) -> None:
    """A file that is missing, empty or a core module is named when it is loaded."""
    path = tmp_path / "x.wasm"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidArgument, match=f"^component: .*{error}"):
        stateful.functions.load(path)


def test_a_limit_that_is_too_small_is_named(run: Run) -> None:
    """A component that does not start within its memory is refused when it is loaded."""
    with (
        pytest.raises(InvalidArgument, match=f"^component: .*{MEGABYTE}"),
        run("hostile", limited(FRESH, memory_bytes=MEGABYTE)),
    ):
        pass


def test_a_function_has_one_component(stateful: Node, components: dict[str, Path]) -> None:
    """A second component with a function of the same name is refused."""
    with pytest.raises(InvalidArgument, match="one component with it"):
        stateful.functions.load(components["stateful"], Manifest(ready=0))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("unknown = 1", "unknown"),
        ("ready = -1", "ready from 0 to 256"),
        ("ready = 'x'", r"Expected `int`.*ready"),
        ("[limits]\nmemory_bytes = 0", "limits.memory_bytes from 1"),
        pytest.param("[limits]\ndeadline = 1", "deadline"),
        ("environment = {A = 1}", "environment"),
        ("not toml", "valid manifest"),
    ],
)
def test_a_wrong_manifest_is_named(tmp_path: Path, text: str, error: str) -> None:
    """The error names the file and the member."""
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(InvalidArgument, match=rf"^manifest: '.*a\.toml'(?s:.*){error}"):
        Manifest.beside(tmp_path / "a.wasm")


def test_a_manifest_is_read(tmp_path: Path) -> None:
    """Every member can be set; without a file there are the defaults."""
    assert Manifest.beside(tmp_path / "a.wasm") == Manifest()
    (tmp_path / "a.toml").write_text("ready = 0\nreuse = true\n[limits]\ndeadline_ms = 5\n[environment]\nA = 'b'\n")
    assert Manifest.beside(tmp_path / "a.wasm") == limited(
        Manifest(ready=0, reuse=True, environment={"A": "b"}), deadline_ms=5
    )
