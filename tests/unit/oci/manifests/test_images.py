"""An image that what runs the function cannot load is refused by what its package says, without pulling it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clusters import FULL, SMALL, cluster_of
from skylark_oci.errors import RegistryUnavailable
from skylark_oci.manifests.config import FunctionSection, Run
from skylark_oci.manifests.images import check_images, mismatch, target_of
from skylark_oci.reference import Reference
from skylark_oci.settings import RegistrySettings
from skylark_oci.transport import PLAIN_HTTP_HINT
from skylark_proxy.cli.manifests import checked_config

COMPONENT: dict[str, list[str]] = {"exports": [], "imports": []}


def artifact(os: str, *exports: str) -> Mapping[str, Any]:
    """An artifact as `remote_contents` shows it, of which nobody says what it was built for."""
    config = {"created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": os, "layerDigests": []}
    component = {"component": COMPONENT | {"exports": list(exports)}} if os == "wasip2" else {}
    return {"form": "artifact", "annotations": None, "config": config | component}


def function(run: Run) -> FunctionSection:
    return FunctionSection(name="one", run=run, image="reg.example/one:1")


@pytest.mark.parametrize(
    ("run", "right", "wrong"),
    [
        (Run.PROXY, ["hosted"], ["http", "command", "wasmedge"]),
        (Run.WASMTIME, ["http", "command"], ["hosted", "wasmedge"]),
        (Run.WASMEDGE, ["wasmedge"], ["hosted", "http", "command"]),
    ],
)
def test_what_each_loads(run: Run, right: list[str], wrong: list[str]) -> None:
    """A component under wasmedge and a module elsewhere are refused, with the command that builds the right one."""
    assert [mismatch(function(run), target) for target in right] == [None] * len(right)
    for target in wrong:
        expected = mismatch(function(run), target)
        assert expected is not None
        assert f"run: {run}, built with --target {right[0]}" in expected and f"built for {target}" in expected


@pytest.mark.parametrize(
    ("contents", "target"),
    [
        ({"form": "image", "annotations": {"io.skylark.target": "http"}, "config": {}}, "http"),
        ({"form": "image", "annotations": None, "config": {"os": "wasi"}}, None),
        (artifact("wasip1"), "wasmedge"),
        (artifact("wasip2", "wasi:http/incoming-handler@0.2.9"), "http"),
        (artifact("wasip2", "a:b/c", "skylark:state/handler@0.1.0"), "hosted"),
        (artifact("wasip2", "wasi:cli/run@0.2.0"), "command"),
        (artifact("wasip2"), None),
        ({"form": "artifact", "annotations": {}, "config": {"os": 3}}, None),
    ],
)
def test_what_a_package_was_built_for(contents: Mapping[str, Any], target: str | None) -> None:
    """The annotation says it, else the artifact's configuration; an image of others says nothing."""
    assert target_of(contents) == target


def test_a_registry_that_is_away(tmp_path: Path) -> None:
    """Whoever cannot be asked is named, and nothing is refused for it."""
    unknown: list[str] = []
    text = FULL.replace("reg.example:5000", "127.0.0.1:1").replace("reg.example/", "127.0.0.1:1/")
    config = cluster_of(text.replace("localhost:32000", "127.0.0.1:1"), tmp_path)
    check_images(config, RegistrySettings(), unknown.append, pytest.fail)
    assert len(unknown) == 5 and all("127.0.0.1:1" in one for one in unknown)


def test_registries_is_plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The registries of `proxy.settings.registry_plain_http` are asked without TLS, as the proxies ask them."""
    asked: list[RegistrySettings] = []
    monkeypatch.setattr("skylark_proxy.cli.manifests.check_images", lambda _, settings, *__: asked.append(settings))
    (tmp_path / "skylark.yaml").write_text(SMALL + "proxy: {settings: {registry_plain_http: 'plain.example:5000'}}\n")
    checked_config(tmp_path / "skylark.yaml", images=True)
    assert asked[0].is_plain(Reference.parse("plain.example:5000/a"))
    assert not asked[0].is_plain(Reference.parse("other.example:5000/a"))


def test_the_advice_fits_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A registry that speaks no TLS is told with the setting that helps, and not with an option of other commands."""

    def fails(*_: object) -> None:
        raise RegistryUnavailable("registry r", f"cannot be reached; if it speaks no TLS, {PLAIN_HTTP_HINT}")

    monkeypatch.setattr("skylark_oci.manifests.images.remote_contents", fails)
    text = SMALL + "functions: [{name: a, run: proxy, image: r.example/a, tier: Sat}]"
    told: list[str] = []
    check_images(cluster_of(text, tmp_path), RegistrySettings(), told.append, pytest.fail)
    assert "proxy.settings.registry_plain_http" in told[0] and "--plain-http" not in told[0]
