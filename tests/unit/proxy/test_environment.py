"""The file `.env`, and the variables that Kubernetes sets."""

import os
from pathlib import Path

import pytest

from skylark_proxy.config import Config
from skylark_proxy.errors import ConfigError
from skylark_proxy.nodeinfo.settings import NodeInfoSettings

SERVICES = [
    "skylark",
    "skylark-redis",
    "skylark-proxy",
    "skylark-host",
    "skylark-node-info",
    "skylark-port",
    "skylark-x",
]


def links(service: str, protocol: str = "tcp", port: int = 6379, name: str = "") -> dict[str, str]:
    """What Kubernetes sets for a Service."""
    prefix, endpoint = service.upper().replace("-", "_"), f"{prefix_of(service)}_{port}_{protocol.upper()}"
    url = f"{protocol}://10.96.0.3:{port}"
    named = {f"{prefix}_SERVICE_PORT_{name.upper()}": str(port)} if name else {}
    return named | {
        f"{prefix}_SERVICE_HOST": "10.96.0.3",
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_PORT": url,
        endpoint: url,
        f"{endpoint}_PROTO": protocol,
        f"{endpoint}_PORT": str(port),
        f"{endpoint}_ADDR": "10.96.0.3",
    }


def prefix_of(service: str) -> str:
    return f"{service.upper().replace('-', '_')}_PORT"


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(("protocol", "name"), [("tcp", ""), ("udp", "dns"), ("sctp", "http")])
def test_service_links_are_no_settings(service: str, protocol: str, name: str) -> None:
    """A Service beside the pod, whatever its name, changes no setting and ends no process."""
    variables = links(service, protocol, name=name)
    assert Config.load(variables) == Config.load({})
    assert NodeInfoSettings.load(variables) == NodeInfoSettings.load({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SKYLARK_PROT", "80"),
        ("SKYLARK_REDIS_PORT", "6379"),
        ("SKYLARK_REDIS_PORT", "10.0.0.1:6379"),
        ("SKYLARK_X_SERVICE_PORT", "http"),
        ("SKYLARK_X_PORT_80_TCP", "80"),
        ("SKYLARK_SERVICE", "x"),
        ("SKYLARK_NODE_PORT", "1"),
    ],
)
def test_a_mistyped_setting_is_still_an_error(name: str, value: str) -> None:
    """What only looks a little like a service link is refused."""
    for load in (Config.load, NodeInfoSettings.load):
        with pytest.raises(ConfigError, match=f"{name}=.*expected a known setting"):
            load({name: value})


def test_a_mistyped_setting_gets_a_hint() -> None:
    """The error names the setting that was probably meant, and shows no value that may be a secret."""
    with pytest.raises(ConfigError, match=r"did you mean SKYLARK_REDIS_URL\?") as caught:
        Config.load({"SKYLARK_REDIS_ULR": "redis://:s3cret@h"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["SKYLARK_REDIS_PASSWORD", "SKYLARK_PEERKEY", "SKYLARK_SECRET", "SKYLARK_TOKEN"])
def test_a_secret_under_an_unknown_name_is_not_shown(name: str) -> None:
    """A password in a variable that does not exist stays hidden."""
    with pytest.raises(ConfigError) as caught:
        Config.load({name: "s3cret"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"FOO=\xff\xfe\n", r"is not UTF-8 \(byte 4\)"), ("SKYLARK_NODE=a".encode("utf-16"), "is not UTF-8")],
)
def test_a_file_that_is_not_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str) -> None:
    """One sentence names the file and what is wrong with it."""
    (tmp_path / ".env").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    for load in (Config.load, NodeInfoSettings.load):
        with pytest.raises(ConfigError, match=rf"the settings file \.env {reason}.*\.env; expected"):
            load()


def test_a_folder_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder `.env` is told, not passed over."""
    (tmp_path / ".env").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"the settings file \.env cannot be read \(Is a directory\)"):
        Config.load()


def test_a_file_without_leave_to_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that belongs to someone else is told."""
    (tmp_path / ".env").write_text("SKYLARK_NODE=a")
    monkeypatch.chdir(tmp_path)

    def refused(*_: object, **__: object) -> str:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(ConfigError, match=r"the settings file \.env cannot be read \(Permission denied\)"):
        Config.load()


def test_a_file_of_an_editor_that_marks_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte order mark is no part of the first name."""
    (tmp_path / ".env").write_text("SKYLARK_WORKERS=3\n", encoding="utf-8-sig")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKYLARK_WORKERS", raising=False)
    assert Config.load().workers == 3
