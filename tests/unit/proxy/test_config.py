"""The settings of a node: each can be set, and what is wrong is named."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from skylark_oci import Reference
from skylark_proxy.config import SETTINGS, Config
from skylark_proxy.errors import ConfigError
from skylark_proxy.model import Ack, Objectives, Policy

VALID: list[tuple[str, str, object]] = [
    ("node", "sat-7", "sat-7"),
    ("host", "0.0.0.0", "0.0.0.0"),
    ("port", "0", 0),
    ("port", "65535", 65535),
    ("topology", "/etc/topology.json", Path("/etc/topology.json")),
    ("node_info_url", "http://127.0.0.1:30001/", "http://127.0.0.1:30001"),
    ("node_info_wait_ms", "0", 0),
    ("report_links", "true", True),
    ("destination", "cloud1", "cloud1"),
    ("functions", "a.wasm, ,/b", (Path("a.wasm"), Path("/b"))),
    (
        "functions",
        "oci://127.0.0.1:5000/team/app:1.0,/c:d.wasm",
        (Reference("127.0.0.1:5000", "team/app", "1.0"), Path("/c:d.wasm")),
    ),
    ("registry_plain_http", "registry.lan:5000, 10.0.0.7:5000", ("registry.lan:5000", "10.0.0.7:5000")),
    ("redis_url", "redis://h:1/0", "redis://h:1/0"),
    ("redis_fsync", "EVERYSEC", "everysec"),
    ("data_dir", "/data", Path("/data")),
    ("cache_dir", "/cache", Path("/cache")),
    ("policy", "random", Policy.RANDOM),
    ("max_latency_ms", "12.5", 12.5),
    ("min_bandwidth_mbps", "0", 0.0),
    ("bundle_ttl_ms", "1000", 1000),
    ("max_bundle_bytes", "1", 1),
    ("ack", "cloud", Ack.CLOUD),
    ("replicate", "yes", True),
    ("outbox_max_entries", "1", 1),
    ("arrival_wait_ms", "1", 1),
    ("keep_fetched", "true", True),
    ("keep_fetched", "NO", False),
    ("keep_fetched", "1", True),
    ("workers", "1024", 1024),
    ("peer_connect_timeout_ms", "1", 1),
    ("peer_timeout_ms", "250", 250),
    ("peer_key", "0123456789abcdef" * 4, bytes.fromhex("0123456789abcdef" * 4)),
    ("peer_key", "a key of thirty-two letters, or more", b"a key of thirty-two letters, or more"),
    ("peer_clock_skew_s", "60", 60.0),
    ("local_networks", "10.42.0.0/24, fd00::/8", (ip_network("10.42.0.0/24"), ip_network("fd00::/8"))),
    ("tls_cert", "/etc/skylark/tls.crt", Path("/etc/skylark/tls.crt")),
    ("tls_key", "/etc/skylark/tls.key", Path("/etc/skylark/tls.key")),
    ("tls_ca", "/etc/skylark/ca.crt", Path("/etc/skylark/ca.crt")),
    ("plain_listen", "[::1]:30004", "[::1]:30004"),
    ("trusted_proxies", "10.0.0.1, fd00::/8", (ip_network("10.0.0.1/32"), ip_network("fd00::/8"))),
    ("allowed_hosts", "node.lan, .Example.org", ("node.lan", ".Example.org")),
    ("max_in_flight", "1", 1),
    ("max_bodies_bytes", "500000000", 500_000_000),
    ("max_connections", "100", 100),
    ("body_timeout_s", "2.5", 2.5),
    ("max_bundles_per_chain", "5", 5),
    ("log_level", "DEBUG", "debug"),
    ("log_format", "json", "json"),
]

INVALID = [
    ("node", "a:b", "1 to 128 of A-Z a-z 0-9 . _ -"),
    ("node", "x" * 129, "1 to 128 of"),
    ("port", "65536", "a port, 0 to 65535"),
    ("port", "-1", "a port, 0 to 65535"),
    ("port", "http", "a port, 0 to 65535"),
    ("port", "80.0", "a port, 0 to 65535"),
    ("node_info_url", "127.0.0.1:30001", "http://host:port"),
    ("node_info_wait_ms", "-1", "a whole number of milliseconds, 0 or more"),
    ("report_links", "maybe", "true or false"),
    ("destination", "*", "1 to 128 of"),
    ("functions", "a.wasm,oci://app:1.0", "host/path, the host with a dot or a port"),
    ("functions", "oci://r.example/App", "a path of a-z"),
    ("registry_plain_http", "http://registry.lan:5000", "host:port, separated by commas"),
    ("redis_fsync", "no", "one of always, everysec"),
    ("policy", "fastest", "one of skylark, random, stateless"),
    ("max_latency_ms", "-1", "a number of milliseconds, 0 or more"),
    ("max_latency_ms", "nan", "a number of milliseconds, 0 or more"),
    ("max_latency_ms", "inf", "a number of milliseconds, 0 or more"),
    ("min_bandwidth_mbps", "fast", "a number of Mbps, 0 or more"),
    ("bundle_ttl_ms", "0", "a whole number of milliseconds above 0"),
    ("max_bundle_bytes", "0", "a whole number of bytes above 0"),
    ("max_bundle_bytes", "128MB", "a whole number of bytes above 0"),
    ("keep_fetched", "maybe", "true or false"),
    ("workers", "0", "a whole number, 1 to 1024"),
    ("workers", "1025", "a whole number, 1 to 1024"),
    ("peer_connect_timeout_ms", "0", "a whole number of milliseconds above 0"),
    ("peer_timeout_ms", "1e3", "a whole number of milliseconds above 0"),
    ("peer_clock_skew_s", "-1", "a number of seconds, 0 or more"),
    ("local_networks", "10.42.0.1/24", "networks such as 10.42.0.0/24"),
    ("plain_listen", "30004", "an address and a port"),
    ("plain_listen", "localhost:30004", "an address and a port"),
    ("plain_listen", "127.0.0.1:65536", "an address and a port"),
    ("trusted_proxies", "proxy.lan", "networks such as 10.0.0.1/32"),
    ("allowed_hosts", "http://node.lan", "names of hosts without ports"),
    ("allowed_hosts", "node.lan:30002", "names of hosts without ports"),
    ("allowed_hosts", "*.node.lan", "names of hosts without ports"),
    ("max_in_flight", "0", "a whole number above 0"),
    ("max_bodies_bytes", "0", "a whole number of bytes, at least that of the largest bundle"),
    ("max_connections", "15", "a whole number, 16 or more"),
    ("body_timeout_s", "0", "a number of seconds above 0"),
    ("body_timeout_s", "inf", "a number of seconds above 0"),
    ("max_bundles_per_chain", "0", "a whole number above 0"),
    ("log_level", "verbose", "one of debug, info, warning, error"),
    ("log_format", "xml", "one of text, json"),
]


@pytest.mark.parametrize(("setting", "text", "value"), VALID)
def test_a_setting_is_read_from_its_variable(setting: str, text: str, value: object) -> None:
    """`SKYLARK_` and the name in capitals sets it; all others keep their defaults."""
    config = Config.load({f"SKYLARK_{setting.upper()}": text})
    default = Config.load({})
    assert {name: getattr(config, name) for name in SETTINGS} == {
        name: value if name == setting else getattr(default, name) for name in SETTINGS
    }
    assert type(getattr(config, setting)) is type(value)


def test_every_setting_is_tested_here() -> None:
    """A new setting without a variable, or without a line above, is noticed."""
    assert {setting for setting, _, _ in VALID} == set(SETTINGS)


@pytest.mark.parametrize(("setting", "text", "expected"), INVALID)
def test_a_bad_value_is_named(setting: str, text: str, expected: str) -> None:
    """The error names the variable, the value and what was expected."""
    key = f"SKYLARK_{setting.upper()}"
    with pytest.raises(ConfigError) as raised:
        Config.load({key: text})
    assert (raised.value.key, raised.value.value) == (key, text)
    assert expected in raised.value.expected
    assert f"{key}={text!r} is not valid; expected {raised.value.expected}" == raised.value.message


def test_an_unknown_variable_is_named_beside_the_known_ones() -> None:
    """A typing mistake in a variable's name does not go unnoticed."""
    with pytest.raises(ConfigError, match=r"SKYLARK_PROT='1' is not valid; expected a known setting: .*port"):
        Config.load({"SKYLARK_PROT": "1"})


def test_other_variables_are_not_its_business() -> None:
    """Variables without the prefix, and those of the guest SDK and of node-info, are left alone."""
    foreign = {"PORT": "x", "SKYLARKPORT": "x", "SKYLARK_PROXY_URL": "http://h", "SKYLARK_NODE_INFO_PORT": "x"}
    assert Config.load(foreign) == Config.load({})


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_an_empty_variable_is_not_set(setting: str) -> None:
    """Compose files and shells pass on empty variables for what nobody set."""
    assert Config.load({f"SKYLARK_{setting.upper()}": ""}) == Config.load({})


def test_an_override_wins_over_the_environment() -> None:
    """A command line option is stronger than a variable; one that was not given, None, is not."""
    environment = {"SKYLARK_PORT": "1", "SKYLARK_NODE": "a"}
    config = Config.load(environment, port=2, node=None)
    assert (config.port, config.node) == (2, "a")


def test_the_process_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` in the working directory sets what the environment leaves open."""
    (tmp_path / ".env").write_text("SKYLARK_PORT=1\nSKYLARK_NODE='from file'\nSKYLARK_WORKERS=3\nSKYLARK_POLICY\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKYLARK_PORT", "2")
    monkeypatch.setenv("SKYLARK_NODE", "a")
    config = Config.load()
    assert (config.port, config.node, config.workers) == (2, "a", 3)


def test_a_bad_value_in_the_file_is_an_error_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not a place where mistakes are passed over."""
    (tmp_path / ".env").write_text("SKYLARK_PORT=no\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKYLARK_PORT", raising=False)
    with pytest.raises(ConfigError, match="SKYLARK_PORT='no'"):
        Config.load()


def test_without_settings_a_node_is_its_host_and_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The defaults: the host's name without its domain, loopback, the documented port, XDG folders."""
    monkeypatch.setattr("socket.gethostname", lambda: "sat7.example.org")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    config = Config.load({})
    assert (config.node, config.host, config.port) == ("sat7", "127.0.0.1", 30002)
    assert (config.cache_dir, config.data_dir) == (tmp_path / "c" / "skylark", tmp_path / "d" / "skylark")


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user has no name, the error says which setting is needed; with it there is no error."""

    def homeless(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(homeless))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    given = {"SKYLARK_CACHE_DIR": "/c", "SKYLARK_DATA_DIR": "/d"}
    assert Config.load(given).data_dir == Path("/d")
    for name in given:
        with pytest.raises(ConfigError, match=f"no home folder: set {name}"):
            Config.load({other: value for other, value in given.items() if other != name})


def test_the_default_node_name_can_stand_in_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that is no name of a node fails at the start, and not in the first key."""
    monkeypatch.setattr("socket.gethostname", lambda: "my host")
    with pytest.raises(ConfigError, match="SKYLARK_NODE='my host'"):
        Config.load({})


def test_objectives_are_the_two_settings() -> None:
    """The operator's objectives come from the configuration."""
    config = Config.load({"SKYLARK_MAX_LATENCY_MS": "10", "SKYLARK_MIN_BANDWIDTH_MBPS": "2.5"})
    assert config.objectives == Objectives(10.0, 2.5)


@pytest.mark.parametrize(
    "overrides",
    [{"port": 70_000}, {"node": "a:b"}, {"max_latency_ms": -1.0}, {"workers": 0}, {"max_latency_ms": 1e400}],
)
def test_a_bad_override_is_refused(overrides: dict[str, Any]) -> None:
    """What a command line gives is checked like what the environment gives."""
    with pytest.raises(ConfigError):
        Config.load({}, **overrides)


class TestPeerKey:
    @pytest.mark.parametrize("key", ["short-and-secret", "5ec7e7" * 10, "5" * 62, "@{file}"])
    def test_a_key_that_is_too_short(self, key: str, tmp_path: Path) -> None:
        """It fails at the start, with the number of its bytes and without a word of it, wherever it comes from."""
        file = tmp_path / "key"
        file.write_text("short-and-secret\n")
        with pytest.raises(ConfigError, match=r"SKYLARK_PEER_KEY.* at least 32 bytes, .*; it has (16|30|31)") as caught:
            Config.load({"SKYLARK_PEER_KEY": key.format(file=file)})
        assert not any(secret in caught.value.message for secret in ("short-and-secret", "5ec7e7" * 2, "5" * 20))

    def test_a_key_in_a_file(self, tmp_path: Path) -> None:
        """`@FILE` reads the key from a file; the line's end is not of it."""
        file = tmp_path / "key"
        file.write_text("ab" * 32 + "\n")
        assert Config.load({"SKYLARK_PEER_KEY": f"@{file}"}).peer_key == b"\xab" * 32

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        """The error names the file."""
        with pytest.raises(ConfigError, match=f"@{tmp_path}.*a readable file"):
            Config.load({"SKYLARK_PEER_KEY": f"@{tmp_path}"})

    def test_it_is_never_shown(self) -> None:
        """Neither the settings in a log nor the error of a misspelled name show the key."""
        key = "a key of thirty-two letters, or more"
        assert "thirty" not in repr(Config.load({"SKYLARK_PEER_KEY": key}))
        with pytest.raises(ConfigError, match="SKYLARK_PEERKEY") as caught:
            Config.load({"SKYLARK_PEERKEY": key})
        assert "thirty" not in caught.value.message


@pytest.mark.parametrize(
    ("settings", "memory_bytes", "expected"),
    [
        ({}, 1 << 30, 256 << 20),
        ({}, 1 << 40, 512 << 20),
        ({}, 64 << 20, 128 << 20),
        ({"max_bundle_bytes": 1 << 20}, 1 << 40, 4 << 20),
        ({"max_bodies_bytes": 300 << 20}, 1 << 30, 300 << 20),
    ],
)
def test_the_bytes_in_flight_depend_on_the_memory(settings: dict[str, Any], memory_bytes: int, expected: int) -> None:
    """A quarter of the memory, within one and four of the largest bundles, unless the setting says otherwise."""
    assert Config.load({}, **settings).bodies_bytes(memory_bytes) == expected


def test_the_largest_bundle_fits_the_bytes_in_flight() -> None:
    """A setting that no largest bundle fits is refused, and both are named."""
    with pytest.raises(ConfigError, match=r"SKYLARK_MAX_BODIES_BYTES=1000 .* SKYLARK_MAX_BUNDLE_BYTES, 134217728"):
        Config.load({}, max_bodies_bytes=1000).bodies_bytes(1 << 30)
