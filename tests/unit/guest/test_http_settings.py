"""What a server of functions reads from its environment."""

import pytest

from skylark.http_answers import Refused
from skylark.http_settings import ServerSettings, Settings
from skylark.invocation_token import Credential

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


def test_a_credential_is_read_and_never_shown() -> None:
    """What `skylark token` prints is a credential; the error for anything else does not show it."""
    credential = Credential.make(b"k" * 32, "detect", "own")
    assert Settings.read({"SKYLARK_FUNCTION_TOKEN": str(credential)}, FUNCTIONS).credential == credential
    assert Settings.read({"SKYLARK_FUNCTION_TOKEN": ""}, FUNCTIONS).credential is None
    with pytest.raises(Refused, match="skylark token") as raised:
        Settings.read({"SKYLARK_FUNCTION_TOKEN": str(credential)[:-1]}, FUNCTIONS)
    assert credential.secret.hex()[:-1] not in str(raised.value) + str(raised.value.details)


def test_a_server_listens_where_knative_expects_it() -> None:
    """Without a word it listens at port 8080 of all addresses, and every wait has an end."""
    settings = ServerSettings.read({})
    assert settings == ServerSettings()
    assert (settings.hosts, settings.port) == ((), 8080)
    assert settings.max_bodies_bytes == 2 * settings.max_body_bytes == 268_435_456


def test_what_can_be_said_of_a_server() -> None:
    """Each setting has its variable; room for all bodies follows the largest one where it is not given."""
    environment = {
        "SKYLARK_HOST": "::1",
        "PORT": "0",
        "SKYLARK_MAX_BUNDLE_BYTES": "1000",
        "SKYLARK_MAX_HEAD_BYTES": "2000",
        "SKYLARK_MAX_CONNECTIONS": "3",
        "SKYLARK_HEAD_TIMEOUT_S": "4",
        "SKYLARK_BODY_TIMEOUT_S": "0.5",
        "SKYLARK_IDLE_TIMEOUT_S": "6",
        "SKYLARK_STOP_TIMEOUT_S": "7",
        "SKYLARK_LOG_REQUESTS": "true",
    }
    assert ServerSettings.read(environment) == ServerSettings(
        hosts=("::1",),
        port=0,
        max_body_bytes=1000,
        max_bodies_bytes=2000,
        max_head_bytes=2000,
        max_connections=3,
        head_timeout_s=4.0,
        body_timeout_s=0.5,
        idle_timeout_s=6.0,
        stop_timeout_s=7.0,
        log_requests=True,
    )
    assert ServerSettings.read(environment | {"SKYLARK_MAX_BODIES_BYTES": "1500"}).max_bodies_bytes == 1500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "9" * 5000),
        ("SKYLARK_HOST", "localhost"),
        ("SKYLARK_HOST", "127.0.0.1:80"),
        ("SKYLARK_MAX_BODIES_BYTES", "1000"),
        ("SKYLARK_MAX_HEAD_BYTES", "0"),
        ("SKYLARK_MAX_CONNECTIONS", "all"),
        ("SKYLARK_HEAD_TIMEOUT_S", "0"),
        ("SKYLARK_BODY_TIMEOUT_S", "1e3"),
        ("SKYLARK_IDLE_TIMEOUT_S", "inf"),
        ("SKYLARK_STOP_TIMEOUT_S", "86401"),
        ("SKYLARK_LOG_REQUESTS", "yes"),
    ],
)
def test_a_wrong_value_of_a_server_is_named(name: str, value: str) -> None:
    """The error has the variable, the value and what was expected."""
    with pytest.raises(Refused, match="expected") as raised:
        ServerSettings.read({name: value})
    assert raised.value.code == "config"
    assert raised.value.details == {"key": name, "value": value}
