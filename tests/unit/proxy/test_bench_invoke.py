"""`skylark bench invoke`: the servers that are named on the command line."""

import pytest

from skylark_proxy.bench.invoke import _target as target
from skylark_proxy.bench.invoke import bench_invoke
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument


@pytest.mark.parametrize(
    ("url", "base", "path"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "/"),
        ("http://127.0.0.1:8080/functions/noop", "http://127.0.0.1:8080", "/functions/noop"),
        ("http://[::1]:8080/process?key=a:b", "http://[::1]:8080", "/process?key=a:b"),
    ],
)
def test_a_url(url: str, base: str, path: str) -> None:
    """Where the server is, and what is asked of it."""
    assert target(url) == (base, path)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "https://h/", "http:///x", ""])
def test_a_url_that_is_none(url: str) -> None:
    """It is refused before anything is built or started."""
    with pytest.raises(InvalidArgument, match="http://host:port/functions/NAME"):
        bench_invoke(Config.load({}), 1, 0.1, 1, lambda _: pytest.fail("it began"), [url])
