"""Requests to a server of functions: read by the SDK as the proxy reads them."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from skylark.http_answers import Refused
from skylark.http_routes import Call, Head, Page, body_size, route
from skylark_proxy.api import functions as proxy_functions
from skylark_proxy.api.openapi import description
from skylark_proxy.api.strict import Operation
from skylark_proxy.errors import SkylarkError

KNOWN = ("first", "second")
ITEM = description()["paths"]["/functions/{functions}"]
KNOWN_TO_THE_PROXY = Operation.of(ITEM, ITEM["post"])


def head(method: str, target: str, **headers: str) -> Head:
    return Head.of(method, target, {name.replace("_", "-"): value for name, value in headers.items()})


def refused(asked: Head, **arguments: Any) -> Refused:
    with pytest.raises(Refused) as raised:
        route(asked, **arguments)
    return raised.value


def test_a_call() -> None:
    """A POST to a function's path is a call, its query the parameters."""
    asked = head("POST", "/functions/first+second?key=c:n:t&ttl_ms=5", Content_Type="a/b")
    call = route(asked, KNOWN)
    assert isinstance(call, Call)
    assert (call.functions, call.state_key, call.ttl_ms) == (("first", "second"), "c:n:t", 5)
    assert (call.chain_id, call.fuse, call.content_type) == (None, True, "a/b")


def test_an_unknown_parameter_is_refused() -> None:
    """Its sender would believe that it is heeded; the refusal says which one may have been meant."""
    refusal = refused(head("POST", "/functions/first?akc=cloud"))
    assert (refusal.code, refusal.details["field"]) == ("invalid-argument", "akc")
    assert "did you mean ack?" in str(refusal)


def test_names_in_a_path_may_be_quoted() -> None:
    """`%2B` is the + between two functions, as for the proxy."""
    assert route(head("POST", "/functions/first%2Bsecond"), KNOWN) == Call(("first", "second"))


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("POST", "/process"), ("GET", "/")])
def test_the_root(method: str, path: str) -> None:
    """The root runs what its server says; where that says nothing, there is no root."""
    asked = head(method, f"{path}?key=a:b")
    assert route(asked, KNOWN, ("second",)) == Call(("second",), state_key="a:b")
    assert refused(asked).code == "not-found"


def test_a_get_of_the_root_needs_a_key() -> None:
    """A GET without a key is nobody's call: a browser's, or a probe's."""
    assert refused(head("GET", "/"), root=("first",)).details["field"] == "key"


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/functions", Page.FUNCTIONS),
        ("/health", Page.READINESS),
        ("/health/readiness", Page.READINESS),
        ("/health/liveness", Page.LIVENESS),
    ],
)
def test_pages(path: str, page: Page) -> None:
    """What runs no function takes GET and HEAD, and nothing else."""
    assert route(head("GET", path)) is route(head("HEAD", path)) is page
    refusal = refused(head("POST", path))
    assert (refusal.code, refusal.details["allowed"]) == ("method-not-allowed", "GET, HEAD")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/functions/", "/functions/a/b", "/functions/a%2Fb", "/health/x", "//", ""]
)
def test_paths_that_are_none(path: str) -> None:
    """An unknown path is named, with those that there are."""
    refusal = refused(head("POST", path), root=("first",))
    assert (refusal.code, refusal.details) == ("not-found", {})
    assert "/health" in str(refusal)


def test_an_unknown_function() -> None:
    """It is named, and those that there are."""
    refusal = refused(head("POST", "/functions/first+third"), known=KNOWN)
    assert (refusal.code, refusal.details["name"], refusal.details["looked_at"]) == ("not-found", "third", KNOWN)


VALUES = {
    "key": ["c:n:t", "c:t", "c", "c:n:t:x", "ü:t", "", "c" * 129 + ":t"],
    "chain": ["c", "d", "", "a b", "-x", "c" * 128],
    "destination": ["sat1", "", "a:b"],
    "policy": ["skylark", "Random", "STATELESS", "best", ""],
    "ttl_ms": ["1", "0", "-1", "1.5", "²", "315360000000", "315360000001", "9" * 25, ""],
    "ack": ["local", "elected", "cloud", "Local", ""],
    "plan": ["a@n,b@m", "a,b", "a@n@m", "a,a", "", ",", "a@", "@n"],
    "fuse": ["true", "false", "True", ""],
    "other": ["x", ""],
    "akc": ["cloud"],
    "": ["", "x"],
}
TEXTS = st.text("aZ09:@,+%&=._- ü\0", max_size=5)


@st.composite
def queries(draw: st.DrawFn) -> str:
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=5))
    return urlencode([(name, draw(st.sampled_from(VALUES[name]) | TEXTS)) for name in names])


@given(queries())
@example("key=c%3At&key=c%3At")
@example("key=c%3At&chain=d")
@example("&&=&x")
def test_parameters_are_read_as_by_the_proxy(query: str) -> None:
    """For any query both read the same call, or refuse it with the same code, sentence and numbers."""
    assert ours(query) == theirs(query)


def ours(query: str) -> object:
    try:
        call = route(head("POST", f"/functions/first?{query}"))
    except Refused as refusal:
        return refusal.code, str(refusal), refusal.details
    assert isinstance(call, Call)
    names = (call.policy.value if call.policy else None, call.ack.value if call.ack else None)
    return call.state_key, call.chain_id, call.destination, *names, call.ttl_ms, str(call.plan), call.fuse


def theirs(query: str) -> object:
    scope = {"type": "http", "method": "POST", "headers": [], "query_string": query.encode(), "path": "/"}
    try:
        KNOWN_TO_THE_PROXY.check("POST", "/", query.encode(), {})
        call = proxy_functions._call(Request(scope), ("first",))
    except SkylarkError as error:
        return error.code, error.message, vars(error)
    key = str(call.state_key) if call.state_key else None
    return key, call.chain_id, call.destination, call.policy, call.ack, call.ttl_ms, str(call.plan), call.fuse


@given(TEXTS, st.sampled_from(["GET", "POST", "HEAD", "PUT", "x"]))
def test_any_target_is_a_call_a_page_or_refused(text: str, method: str) -> None:
    """Nothing that a caller can send is a defect."""
    for target in (text, f"/{quote(text)}", f"/functions/{text}", f"/functions/{quote(text, safe='')}?{text}"):
        code = "none"
        try:
            assert isinstance(route(Head.of(method, target, {}), KNOWN, ("first",)), Call | Page)
        except Refused as refusal:
            code = refusal.code
        assert code in ("none", "not-found", "method-not-allowed", "invalid-argument", "invalid-key")


def test_the_size_of_a_body() -> None:
    """An announced size is read before the body; one beyond the limit is refused with both numbers."""
    assert body_size(head("POST", "/", Content_Length="10"), 10) == 10
    assert body_size(head("POST", "/"), 10) is None
    with pytest.raises(Refused) as raised:
        body_size(head("POST", "/", Content_Length="11"), 10)
    assert raised.value.details == {"what": "body", "size_bytes": 11, "limit_bytes": 10}
    for wrong in ("", "-1", "1.5", "²", "1" * 30):
        with pytest.raises(Refused, match="Content-Length"):
            body_size(head("POST", "/", Content_Length=wrong), 10)


def test_header_names_have_no_case() -> None:
    """They are looked up in lower case, however they were sent."""
    names: Iterable[str] = Head.of("GET", "/", {"X-Own": "1", "ce-ID": "2"}).headers
    assert set(names) == {"x-own", "ce-id"}
