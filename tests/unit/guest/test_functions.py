"""The decorator that registers functions, and the run of one invocation."""

import array
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest

from skylark import Bundle, Context, NotFound, Request, Response, State, errors, function
from skylark.functions import REGISTRY, FunctionError, Invocation, Outcome, run, run_contained
from skylark.state import Placement, Read, Stored
from skylark.wire import Buffer


class Memory:
    """A backend that keeps bundles in a dict and counts its calls."""

    def __init__(self, **bundles: dict[str, bytes]) -> None:
        self.bundles: dict[str, Mapping[str, Buffer]] = dict(bundles)
        self.fetched: list[str] = []
        self.stored: list[tuple[dict[str, bytes], Placement]] = []

    def fetch(self, key: str, fields: Collection[str], read: Read = Read.NEAREST, min_version: int = 0) -> Bundle:
        self.fetched.append(key)
        try:
            found = self.bundles[key]
        except KeyError:
            raise NotFound(f"no bundle {key!r}") from None
        return Bundle({name: memoryview(value).toreadonly() for name, value in found.items()}, key=key)

    def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
        self.stored.append(({name: bytes(value) for name, value in fields.items()}, placement))
        return Stored("chain:node:task", 1)

    def delete(self, key: str) -> bool:
        return self.bundles.pop(key, None) is not None


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Each test registers its own functions."""
    kept = dict(REGISTRY)
    REGISTRY.clear()
    yield
    REGISTRY.clear()
    REGISTRY.update(kept)


def register(f: Callable[[Bundle, Context], Any], name: str | None = None) -> None:
    function(name=name or f.__name__)(f)


def returning(value: Any, name: str = "f") -> None:
    register(lambda bundle, ctx: value, name)


def invoke(*functions: str, backend: Memory | None = None, key: str | None = None, body: bytes = b"") -> Outcome:
    request = Request(memoryview(body), "text/plain")
    return run(Invocation(functions or ("f",), "chain", "task", "node", request, key), backend or Memory())


def test_the_decorator_registers_and_leaves_the_function_alone() -> None:
    """A decorated function is found by its name, in the order of definition, and can still be called."""

    @function
    def second(bundle: Bundle, ctx: Context) -> None: ...

    @function(name="first.one-1")
    def first(bundle: Bundle, ctx: Context) -> dict[str, bytes]:
        return {"a": b"1"}

    assert list(REGISTRY) == ["second", "first.one-1"]
    assert REGISTRY["first.one-1"] is first
    context = Context("f", "c", "t", "n", Request(memoryview(b"")), State(Memory()))
    assert first(Bundle({}, key=None), context) == {"a": b"1"}


@pytest.mark.parametrize("name", ["a", "0", "_", "A.b-c_9", "x" * 128])
def test_names_that_can_stand_in_keys_and_urls_are_taken(name: str) -> None:
    """1 to 128 of the documented characters are a name."""
    returning(None, name)
    assert name in REGISTRY


@pytest.mark.parametrize("name", ["x" * 129, ".a", "-a", "a:b", "a b", "a/b", "a+b", "ä", "a\n", "*"])
def test_other_names_are_refused(name: str) -> None:
    """A name that could break a key, a URL or the joining of functions is refused, and is named."""
    with pytest.raises(ValueError, match="is not 1 to 128 of"):
        returning(None, name)
    assert not REGISTRY


def test_an_empty_name_is_refused() -> None:
    """An empty name is a mistake, not the wish for the function's own name."""

    def f(bundle: Bundle, ctx: Context) -> None: ...

    with pytest.raises(ValueError, match="is not 1 to 128 of"):
        function(name="")(f)
    assert not REGISTRY


def test_a_name_is_taken_once() -> None:
    """Two functions of one name are a mistake that is found at the start; the first one stays."""
    returning(None, "f")
    kept = REGISTRY["f"]
    with pytest.raises(ValueError, match="two functions have the name 'f'"):
        returning(None, "f")
    assert REGISTRY["f"] is kept


def test_a_coroutine_function_is_refused() -> None:
    """Nobody would await it; the error says what to do instead."""

    async def f(bundle: Bundle, ctx: Context) -> None: ...

    with pytest.raises(TypeError, match=r"'f' is a coroutine function; use asyncio\.run"):
        function(f)  # type: ignore[type-var]


@pytest.mark.parametrize(
    "f", [lambda: None, lambda bundle: None, lambda bundle, ctx, more: None, lambda *, bundle, ctx: None]
)
def test_what_cannot_be_called_with_bundle_and_context_is_refused(f: Any) -> None:
    """The signature is checked when the module is loaded, not at the first call."""
    with pytest.raises(TypeError, match=r"has to take \(bundle, ctx\)"):
        function(name="f")(f)


@pytest.mark.parametrize("f", [lambda *both: None, lambda bundle, ctx, more=1: None, lambda b, *rest, **named: None])
def test_what_can_be_called_with_two_is_taken(f: Any) -> None:
    """Further parameters with defaults, and variable ones, do no harm."""
    function(name="f")(f)
    assert invoke() == Outcome(None, None)


def test_the_first_function_of_a_chain_has_an_empty_bundle() -> None:
    """Without a predecessor nothing is fetched, and the bundle has no key."""
    seen: list[Bundle] = []
    register(lambda bundle, ctx: seen.append(bundle), "f")
    backend = Memory()
    assert invoke(backend=backend) == Outcome(None, None)
    assert (dict(seen[0]), seen[0].key, backend.fetched, backend.stored) == ({}, None, [], [])


def test_the_context_says_who_where_and_what() -> None:
    """Function, chain, task, node and request are those of the invocation."""
    seen: list[Context] = []
    register(lambda bundle, ctx: seen.append(ctx), "f")
    invoke(body=b"hello")
    ctx = seen[0]
    assert (ctx.function, ctx.chain_id, ctx.task_id, ctx.node) == ("f", "chain", "task", "node")
    assert (bytes(ctx.request.body), ctx.request.content_type) == (b"hello", "text/plain")


def test_what_is_returned_is_stored_under_the_own_task() -> None:
    """A dict of bytes is one bundle, whose key is the outcome; the placement is left to the host."""
    returning({"a": b"1", "b": bytearray(b"2"), "c": memoryview(b"3")})
    backend = Memory()
    assert invoke(backend=backend) == Outcome("chain:node:task", None)
    assert backend.stored == [({"a": b"1", "b": b"2", "c": b"3"}, Placement())]


@pytest.mark.parametrize("nothing", [None, {}, Response(b"hi"), Response(b"hi", state={})])
def test_no_fields_is_no_bundle(nothing: Any) -> None:
    """A function that leaves no state stores nothing: there is no empty bundle and no key."""
    returning(nothing)
    backend = Memory()
    assert invoke(backend=backend).key is None
    assert backend.stored == []


def test_a_response_answers_and_stores() -> None:
    """The response goes to the caller as it is, its `state` into the chain."""
    response = Response(b"hi", "text/plain", 201, {"f": b"state"})
    returning(response)
    backend = Memory()
    assert invoke(backend=backend) == Outcome("chain:node:task", response)
    assert backend.stored == [({"f": b"state"}, Placement())]


def test_the_size_of_a_view_is_its_bytes() -> None:
    """A memoryview of numbers, or of several dimensions, is stored as its bytes: its length counts items."""
    numbers = array.array("d", [1.0, 2.0])
    square = memoryview(bytes(range(6))).cast("B", (2, 3))
    returning({"numbers": memoryview(numbers), "square": square})
    backend = Memory()
    invoke(backend=backend)
    assert backend.stored[0][0] == {"numbers": numbers.tobytes(), "square": bytes(range(6))}


@pytest.mark.parametrize("body", [memoryview(array.array("d", [1.0, 2.0])), memoryview(bytes(6)).cast("B", (2, 3))])
def test_the_size_of_a_body_is_its_bytes(body: memoryview) -> None:
    """A response's body may be any view, too: what leaves has as many items as bytes."""
    returning(Response(body))
    response = invoke().response
    assert response is not None
    assert len(response.body) == body.nbytes
    assert bytes(response.body) == body.tobytes()


@pytest.mark.parametrize(
    "view",
    [memoryview(b"abcdef")[::2], memoryview(array.array("d", [1.0, 2.0, 3.0]))[::2], memoryview(array.array("d"))],
)
def test_every_view_is_stored_as_its_bytes(view: memoryview) -> None:
    """A view with gaps, or one of no items, becomes what a file can be written from: contiguous bytes."""
    kept: list[memoryview] = []

    class Keeper(Memory):
        def store(self, fields: Mapping[str, Buffer], placement: Placement) -> Stored:
            kept.append(memoryview(fields["f"]))
            return super().store(fields, placement)

    returning({"f": view})
    invoke(backend=Keeper())
    assert bytes(kept[0]) == view.tobytes()
    assert kept[0].c_contiguous
    assert len(kept[0]) == view.nbytes


@pytest.mark.parametrize(
    ("returned", "kind", "cause"),
    [
        ("text", "TypeError", "'f' returned str; expected a dict of str to bytes"),
        (b"bytes", "TypeError", "'f' returned bytes; expected a dict"),
        (3, "TypeError", "'f' returned int; expected a dict"),
        ([("a", b"1")], "TypeError", "'f' returned list; expected a dict"),
        ({"a": b"1"}.items(), "TypeError", "'f' returned dict_items; expected a dict"),
        ({"a": "text"}, "TypeError", "'f' returned str in field 'a'; expected bytes"),
        ({"a": 1}, "TypeError", "'f' returned int in field 'a'; expected bytes"),
        ({"a": None}, "TypeError", "'f' returned NoneType in field 'a'; expected bytes"),
        ({"a": {"b": b"1"}}, "TypeError", "'f' returned dict in field 'a'; expected bytes"),
        ({1: b"1"}, "TypeError", "'f' returned the field 1; expected 1 to 128"),
        ({"": b"1"}, "TypeError", "'f' returned the field ''; expected 1 to 128"),
        ({"a:b": b"1"}, "TypeError", "'f' returned the field 'a:b'; expected 1 to 128"),
        ({"a\n": b"1"}, "TypeError", "'f' returned the field 'a\\n'; expected 1 to 128"),
        (Response("text"), "TypeError", "'f' answered with a body of str; expected bytes"),  # type: ignore[arg-type]
        (Response(b"", state={"a": "1"}), "TypeError", "'f' returned str in field 'a'"),  # type: ignore[dict-item]
        (Response(b"", status=99), "ValueError", "'f' answered with status 99; expected 200 to 599"),
        (Response(b"", status=101), "ValueError", "'f' answered with status 101; expected 200 to 599"),
        (Response(b"", status=600), "ValueError", "'f' answered with status 600; expected 200 to 599"),
        (Response(b"", status="200"), "ValueError", "'f' answered with status '200'"),  # type: ignore[arg-type]
        (Response(b"", content_type="a\r\nb: c"), "TypeError", "'f' answered with content type 'a\\r\\nb: c'"),
        (Response(b"", content_type=None), "TypeError", "'f' answered with content type None"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused_by_its_type(returned: Any, kind: str, cause: str) -> None:
    """What a function must not return is an error that names the function, what it returned and what was expected."""
    returning(returned)
    backend = Memory()
    with pytest.raises(FunctionError) as raised:
        invoke(backend=backend)
    assert raised.value.function == "f"
    assert raised.value.kind == kind
    assert cause in raised.value.message
    assert backend.stored == []


def test_a_content_type_that_no_header_can_carry_is_refused() -> None:
    """HTTP headers are ISO 8859-1: what is printable in Unicode only would fail later, and far from the function."""
    returning(Response(b"", content_type="text/plain; title=火"))
    with pytest.raises(FunctionError, match="answered with content type"):
        invoke()


def test_fused_functions_share_one_bundle() -> None:
    """Each sees the fetched bundle with what those before it returned; there is one fetch, and one store of all."""
    seen: list[dict[str, bytes]] = []

    def step(number: int) -> Callable[[Bundle, Context], dict[str, bytes]]:
        def f(bundle: Bundle, ctx: Context) -> dict[str, bytes]:
            seen.append({name: bytes(value) for name, value in bundle.items()})
            return {ctx.function: b"%d" % number, "last": ctx.function.encode()}

        return f

    for number, name in enumerate(("a", "b", "c")):
        register(step(number), name)
    backend = Memory(before={"old": b"o", "last": b"-"})
    outcome = invoke("a", "b", "c", backend=backend, key="before")
    assert outcome.key == "chain:node:task"
    assert seen == [
        {"old": b"o", "last": b"-"},
        {"old": b"o", "last": b"a", "a": b"0"},
        {"old": b"o", "last": b"b", "a": b"0", "b": b"1"},
    ]
    assert backend.fetched == ["before"]
    assert backend.stored == [({"a": b"0", "last": b"c", "b": b"1", "c": b"2"}, Placement())]


def test_the_last_response_of_fused_functions_is_the_answer() -> None:
    """A function after it that answers nothing does not take the answer away."""
    returning(Response(b"1"), "a")
    returning(Response(b"2"), "b")
    returning({"c": b""}, "c")
    response = invoke("a", "b", "c").response
    assert response is not None
    assert response.body == b"2"


def test_nothing_is_stored_when_a_later_function_fails() -> None:
    """The functions of a fusion succeed together or not at all; the error names the one that failed."""
    returning({"a": b"1"}, "a")
    returning("nonsense", "b")
    backend = Memory()
    with pytest.raises(FunctionError) as raised:
        invoke("a", "b", backend=backend)
    assert raised.value.function == "b"
    assert backend.stored == []


def test_an_exception_becomes_a_function_error_with_its_traceback() -> None:
    """The error has the class, message, and traceback with the line that raised and the exceptions behind it."""

    def f(bundle: Bundle, ctx: Context) -> None:
        try:
            dict[str, int]()["x"]
        except KeyError as error:
            raise ValueError("größer als ∞") from error  # the line in the traceback

    register(f)
    with pytest.raises(FunctionError) as raised:
        invoke()
    error = raised.value
    assert (error.function, error.kind, error.message) == ("f", "ValueError", "größer als ∞")
    assert isinstance(error.__cause__, ValueError)
    assert "# the line in the traceback" in error.traceback
    assert "KeyError: 'x'" in error.traceback
    assert error.traceback.endswith("ValueError: größer als ∞\n")


@pytest.mark.parametrize("status", [0, 3, "a message"])
def test_sys_exit_is_a_failure(status: int | str) -> None:
    """A function must not end the process of its host, not even with status 0."""
    register(lambda bundle, ctx: sys.exit(status), "f")
    with pytest.raises(FunctionError) as raised:
        invoke()
    assert (raised.value.kind, raised.value.message) == ("SystemExit", str(status))


def test_an_exception_that_cannot_be_printed_is_a_failure_too() -> None:
    """An exception whose own `__str__` raises still becomes a FunctionError."""

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def f(bundle: Bundle, ctx: Context) -> None:
        raise Unprintable

    register(f)
    with pytest.raises(FunctionError) as raised:
        invoke()
    assert (raised.value.function, raised.value.kind) == ("f", "Unprintable")


def test_a_keyboard_interrupt_is_the_developers() -> None:
    """In plain CPython Ctrl-C has to end the process, whatever function runs."""

    def f(bundle: Bundle, ctx: Context) -> None:
        raise KeyboardInterrupt

    register(f)
    with pytest.raises(KeyboardInterrupt):
        invoke()


def test_an_unknown_function_is_named_beside_the_known_ones() -> None:
    """The error lists what the component has."""
    returning(None, "a")
    returning(None, "b")
    with pytest.raises(FunctionError, match=r"no function 'c' in this component; it has: a, b") as raised:
        invoke("a", "c")
    assert raised.value.function == "c"
    REGISTRY.clear()
    with pytest.raises(FunctionError, match="it has: none"):
        invoke("c")


def test_a_predecessor_that_is_not_there_fails_before_the_function_runs() -> None:
    """The state error is the cause, with its class; the function is not called with an empty bundle."""
    called: list[float] = []
    register(lambda bundle, ctx: called.append(time.monotonic()), "f")
    with pytest.raises(FunctionError, match="NotFound: no bundle 'missing'") as raised:
        invoke(key="missing")
    assert isinstance(raised.value.__cause__, NotFound)
    assert called == []


def test_errors_of_the_sdk_say_whether_a_retry_helps() -> None:
    """Every code leads to its class, and only what was away or late is worth a retry."""
    assert {code for code, error in errors.BY_CODE.items() if error.retryable} == {"unavailable", "timed-out"}
    assert all(error.code == code for code, error in errors.BY_CODE.items())
    conflict, too_large = errors.Conflict(2, 5), errors.TooLarge(10, 9)
    assert (conflict.expected, conflict.actual, str(conflict)) == (2, 5, "the stored version is 5, expected 2")
    assert (too_large.size_bytes, too_large.limit_bytes, str(too_large)) == (10, 9, "10 bytes, the limit is 9")


def test_what_an_error_says_can_be_told() -> None:
    """A message of any length and of any characters is bounded, and can be sent as UTF-8."""

    @function
    def f(bundle: Bundle, ctx: Context) -> None:
        raise ValueError("the file \udcff " + "x" * 100_000 + " end")

    with pytest.raises(FunctionError) as raised:
        invoke()
    for text, limit in ((raised.value.message, 8300), (raised.value.traceback, 65_700)):
        assert len(text.encode()) < limit
        assert "\\udcff" in text
        assert text.rstrip().endswith(" end")


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit, ValueError])
def test_in_a_sandbox_everything_is_the_functions(raised: type[BaseException]) -> None:
    """What would end a process ends the function alone, where only the function can have raised it."""

    @function
    def f(bundle: Bundle, ctx: Context) -> None:
        raise raised("from within")

    invocation = Invocation(("f",), "chain", "task", lambda: "node", Request(memoryview(b"")))
    with pytest.raises(FunctionError, match="from within") as caught:
        run_contained(invocation, Memory())
    assert (caught.value.function, caught.value.kind) == ("f", raised.__name__)
