"""What a server of functions reads from its environment."""

import pytest

from skylark.http_answers import Refused
from skylark.http_settings import Settings

FUNCTIONS = ("first", "second")


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, "http://127.0.0.1:30002"),
        ({"LOCAL_NODE_HOST": "192.0.2.7"}, "http://192.0.2.7:30002"),
        ({"LOCAL_NODE_HOST": "2001:db8::7"}, "http://[2001:db8::7]:30002"),
        ({"LOCAL_NODE_HOST": "192.0.2.7", "SKYLARK_PROXY_URL": "http://proxy:1"}, "http://proxy:1"),
        ({"LOCAL_NODE_HOST": "", "SKYLARK_PROXY_URL": ""}, "http://127.0.0.1:30002"),
    ],
)
def test_where_the_proxy_is(environment: dict[str, str], url: str) -> None:
    """The URL counts most, then the node's host, then this machine; what is empty was not said."""
    assert Settings.read(environment, FUNCTIONS).proxy_url == url


def test_defaults() -> None:
    """Nothing has to be said: the first function is the root's, the limit is the proxy's, the proxy tells the node."""
    settings = Settings.read({}, FUNCTIONS)
    assert (settings.root, settings.node, settings.max_body_bytes) == (("first",), None, 134_217_728)


def test_what_can_be_said() -> None:
    """The root's functions, the node and the limit."""
    environment = {"SKYLARK_FUNCTION": "second+first", "SKYLARK_NODE": "sat1", "SKYLARK_MAX_BUNDLE_BYTES": "1000"}
    settings = Settings.read(environment, FUNCTIONS)
    assert (settings.root, settings.node, settings.max_body_bytes) == (("second", "first"), "sat1", 1000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SKYLARK_PROXY_URL", "ftp://proxy"),
        ("SKYLARK_PROXY_URL", "http://proxy:port"),
        ("LOCAL_NODE_HOST", "a b:c]"),
        ("SKYLARK_FUNCTION", "third"),
        ("SKYLARK_FUNCTION", "first+"),
        ("SKYLARK_MAX_BUNDLE_BYTES", "0"),
        ("SKYLARK_MAX_BUNDLE_BYTES", "1e6"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    """The error has the variable, the value and what was expected."""
    with pytest.raises(Refused, match="expected") as raised:
        Settings.read({name: value}, FUNCTIONS)
    assert raised.value.code == "config"
    assert raised.value.details == {"key": name, "value": value}
