"""Plans and names, read by the SDK as the proxy reads them."""

from hypothesis import given
from hypothesis import strategies as st

from skylark.names import chain_of
from skylark.plan import Plan
from skylark_proxy import model
from skylark_proxy.errors import InvalidArgument, InvalidKey

TEXTS = st.text("ab1.-_@,: ü", max_size=12)
PLANS = st.lists(st.sampled_from(["a", "b@n", "c@n", "a@m", "@n", "d@", "e@n@m", ""]), max_size=4).map(",".join)


@given(TEXTS | PLANS)
def test_a_plan(text: str) -> None:
    """What is a plan for the one is the same plan for the other, and is written as it was read."""
    try:
        theirs = model.Plan.parse(text)
    except InvalidArgument:
        theirs = None
    try:
        ours = Plan.parse(text)
    except ValueError:
        ours = None
    assert str(ours) == str(theirs)
    if ours is not None and theirs is not None:
        steps = [(step.function, step.node) for step in ours.after("a")]
        assert steps == [(step.function, step.node) for step in theirs.after("a")]


@given(TEXTS)
def test_a_key(text: str) -> None:
    """What is a state key for the one is one for the other, of the same chain."""
    try:
        theirs = model.StateKey.parse(text).chain_id
    except InvalidKey:
        theirs = None
    assert chain_of(text) == theirs


def test_what_follows_a_function() -> None:
    """The steps after it; none for the last one, and for one that is not in the plan."""
    plan = Plan.parse("a,b@n,c")
    assert [step.function for step in plan.after("a")] == ["b", "c"]
    assert plan.after("c") == plan.after("x") == ()
