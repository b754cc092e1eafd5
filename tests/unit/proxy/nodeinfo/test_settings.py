"""The settings of the node-info service: read as those of a node are, and apart from them."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from skylark_proxy.config import NODE_INFO_SETTINGS, SETTINGS, Config
from skylark_proxy.errors import ConfigError
from skylark_proxy.model import Objectives
from skylark_proxy.nodeinfo.settings import NodeInfoSettings

VALID: list[tuple[str, str, object]] = [
    ("node", "sat-7", "sat-7"),
    ("topology", "t.json", Path("t.json")),
    ("max_latency_ms", "12.5", 12.5),
    ("min_bandwidth_mbps", "3", 3.0),
    ("node_info_host", "0.0.0.0", "0.0.0.0"),
    ("node_info_port", "0", 0),
    ("node_info_provider", "Rotating", "rotating"),
    ("node_info_interval_s", "0.5", 0.5),
    ("node_info_seed", "7", 7),
    ("node_info_density", "0.25", 0.25),
    ("node_info_measured_weight", "1", 1.0),
    ("node_info_measured_expiry_s", "10", 10.0),
    ("peer_key", "k" * 32, b"k" * 32),
    ("peer_clock_skew_s", "7", 7.0),
    ("tls_cert", "tls.crt", Path("tls.crt")),
    ("tls_key", "tls.key", Path("tls.key")),
    ("tls_ca", "ca.crt", Path("ca.crt")),
    ("trusted_proxies", "10.0.0.1", (ip_network("10.0.0.1/32"),)),
    ("allowed_hosts", "node.lan", ("node.lan",)),
    ("log_level", "DEBUG", "debug"),
    ("log_format", "json", "json"),
]


@pytest.mark.parametrize(("setting", "text", "value"), VALID)
def test_a_setting_is_read_from_its_variable(setting: str, text: str, value: object) -> None:
    """`SKYLARK_` and the name in capitals sets it; what the command line says wins."""
    settings = NodeInfoSettings.load({f"SKYLARK_{setting.upper()}": text})
    assert getattr(settings, setting) == value
    assert NodeInfoSettings.load({f"SKYLARK_{setting.upper()}": text}, **{setting: value}) == settings


def test_every_setting_is_tested_here_and_known_to_a_node_as_foreign() -> None:
    """A new setting is noticed, and a node that shares an environment with the service does not refuse it."""
    assert {setting for setting, _, _ in VALID} == set(NodeInfoSettings.__dataclass_fields__)
    assert set(NodeInfoSettings.__dataclass_fields__) - set(SETTINGS) == NODE_INFO_SETTINGS
    both = {f"SKYLARK_{setting.upper()}": text for setting, text, _ in VALID}
    assert Config.load(both).node == "sat-7"


@pytest.mark.parametrize(
    ("setting", "text", "expected"),
    [
        ("node_info_port", "70000", "a port, 0 to 65535"),
        ("node_info_provider", "moon", "one of static, rotating, random, kubernetes"),
        ("node_info_interval_s", "0", "0.05 to 86400"),
        ("node_info_interval_s", "nan", "0.05 to 86400"),
        ("node_info_density", "1.1", "a number from 0 to 1"),
        ("node_info_seed", "-1", "a whole number, 0 or more"),
        ("node_info_measured_expiry_s", "-1", "a number of seconds, 0 or more"),
        ("max_latency_ms", "inf", "a number of milliseconds, 0 or more"),
        ("node_info_prot", "1", "a known setting"),
    ],
)
def test_a_bad_value_is_named(setting: str, text: str, expected: str) -> None:
    """The error names the variable, the value and what was expected."""
    with pytest.raises(ConfigError) as raised:
        NodeInfoSettings.load({f"SKYLARK_{setting.upper()}": text})
    assert (raised.value.key, raised.value.value) == (f"SKYLARK_{setting.upper()}", text)
    assert expected in raised.value.expected


def test_settings_of_a_node_are_not_its_business() -> None:
    """A node and the service may share one environment."""
    environment = {"SKYLARK_PORT": "30002", "SKYLARK_NODE_INFO_URL": "http://h", "SKYLARK_WORKERS": "x"}
    assert NodeInfoSettings.load(environment) == NodeInfoSettings.load({})


def test_defaults() -> None:
    """The documented port on loopback, and objectives as a node's."""
    settings = NodeInfoSettings.load({})
    assert (settings.host, settings.port, settings.node_info_provider) == ("127.0.0.1", 30001, "static")
    assert settings.objectives == Objectives(150.0, 0.0)
