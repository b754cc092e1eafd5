"""Names, read by the SDK as the proxy reads them."""

from hypothesis import given
from hypothesis import strategies as st

from skylark.names import chain_of
from skylark_proxy import model
from skylark_proxy.errors import InvalidKey

TEXTS = st.text("ab1.-_@,: ü", max_size=12)


@given(TEXTS)
def test_a_key(text: str) -> None:
    """What is a state key for the one is one for the other, of the same chain."""
    try:
        theirs = model.StateKey.parse(text).chain_id
    except InvalidKey:
        theirs = None
    assert chain_of(text) == theirs
