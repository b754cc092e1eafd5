"""Addresses of a Redis: what is accepted, and what is said of those that are wrong."""

import pytest

from skylark_proxy.config import Config
from skylark_proxy.errors import ConfigError
from skylark_proxy.redis_client import connect
from skylark_proxy.redis_url import check_url, credentials, hosts, redacted


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6379/",
        "redis://localhost:6379/15",
        "redis://:p%40ss@localhost/0",
        "redis://app:p%40ss%23w%2Fr%3A@127.0.0.1:6379",
        "redis://[::1]:6379/0",
        "redis://localhost?db=3&client_name=sky",
        "rediss://h:6380?ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=2",
        "redis+sentinel://:pw@a:26379,b:26379/main/1?sentinel_password=x%40y",
        "redis+cluster://u:pw@a:7000,[::1]:7001",
    ],
)
def test_addresses_that_are_right(url: str) -> None:
    """Each form is accepted, with encoded characters in passwords."""
    assert Config.load({"SKYLARK_REDIS_URL": url}).redis_url == url


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
@pytest.mark.parametrize(
    "userinfo",
    [
        *(f"app:s3{character}cret" for character in "@#/?:%["),
        *("app:@s3cret", "app:s3@cr#t/cret", ":s3#cret", "s3@cret"),
    ],
)
def test_a_password_that_is_not_encoded(scheme: str, userinfo: str) -> None:
    """It is refused with what to write instead, and no part of it is shown."""
    for read in (
        connect,
        lambda url: Config.load({"SKYLARK_REDIS_URL": url}),
        lambda url: Config.load({}, redis_url=url),
    ):
        with pytest.raises(
            ConfigError, match=r"SKYLARK_REDIS_URL=.*encode the user and the password: write %40"
        ) as caught:
            read(f"{scheme}://{userinfo}@127.0.0.1:6379/main")
        for text in (str(caught.value), repr(caught.value), str(caught.value.value), repr(vars(caught.value))):
            assert "s3" not in text
            assert "cret" not in text
            assert "cr#" not in text
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "begin with one of redis://"),
        ("localhost:6379", "begin with one of"),
        ("http://localhost", "begin with one of"),
        ("REDIS://localhost", "begin with one of"),
        ("redis://", "a host is needed"),
        ("redis://:6379", "a host is needed"),
        ("redis://h:port", "port has to be a number from 1 to 65535"),
        ("redis://h:0", "port has to be a number from 1 to 65535"),
        ("redis://h:65536", "port has to be a number from 1 to 65535"),
        ("redis://h:", "port has to be a number"),
        ("redis://h:-1", "port has to be a number"),
        ("redis://[::1]:70000", "port has to be a number"),
        ("redis://h/zero", "database after the host has to be a number"),
        ("redis://h/-1", "database after the host has to be a number"),
        ("redis://h/0/1", "database after the host has to be a number"),
        ("redis://h?db=zero", "the option db has to be a whole number"),
        ("redis://h?db=-1", "the option db has to be a whole number"),
        ("redis://h?db=", "the option db has to be a whole number"),
        ("redis://h?dbb=1", "takes the options client_name, db"),
        ("redis://h?decode_responses=true", "takes the options"),
        ("redis://h?ssl_ca_certs=x", "takes the options"),
        ("redis://h?db", "this is no URL"),
        ("redis://a:1,b:2", "only one host"),
        ("redis://a,b", "only one host"),
        ("redis://my host", "no spaces"),
        ("redis://h\n", "no spaces or line breaks"),
        ("unix://", "three slashes"),
        ("unix://run/redis.sock", "three slashes"),
        ("redis+sentinel://a:1", "service is needed"),
        ("redis+sentinel://a:1/m/x", "service is needed"),
        ("redis+sentinel://a/m", "each host needs its port"),
        ("redis+sentinel://a:1,b/m", "each host needs its port"),
        ("redis+sentinel://a:99999/m", "port has to be a number"),
        ("redis+sentinel://a:1/m?db=1", "takes the options sentinel_password"),
        ("redis+cluster://a", "each host needs its port"),
        ("redis+cluster://a:1/1", "one database"),
        ("redis+cluster://a:1?db=1", "takes no options"),
        ("redis+cluster://:1", "each host needs its port"),
    ],
)
def test_what_is_wrong_is_said(url: str, reason: str) -> None:
    """The error names the setting, the forms, and what is wrong with this one."""
    with pytest.raises(ConfigError, match=r"SKYLARK_REDIS_URL=.*redis://host") as caught:
        check_url(url)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nonsense", "nonsense"),
        ("redis://localhost/zero", "redis://localhost/zero"),
        ("redis://user:secret@h/zero", "redis://***"),
        ("user:secret", "***"),
        ("s3cret://user@h", "***"),
        ("redis://h?password=x", "redis://***"),
    ],
)
def test_what_an_error_shows(url: str, shown: str) -> None:
    """An address without anything that may be secret is shown; else its scheme."""
    assert redacted(url) == shown


def test_parts() -> None:
    """Hosts and credentials are read decoded."""
    parts = check_url("redis+sentinel://u:p%40%23@A:1,[::1]:2/m")
    assert hosts(parts) == [("a", 1), ("::1", 2)]
    assert credentials(parts) == {"username": "u", "password": "p@#"}


def test_a_configuration_does_not_show_the_address() -> None:
    """The settings may be printed: the password is not among them."""
    assert "s3cret" not in repr(Config.load({"SKYLARK_REDIS_URL": "redis://:s3cret@h"}))
