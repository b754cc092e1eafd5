"""Files, folders and references are told apart; what is pinned and known needs no registry."""

from pathlib import Path

import pytest

from skylark_oci import Reference
from skylark_oci.settings import RegistrySettings, Retries
from skylark_proxy.components import ComponentNotPulled, RegistryAway, component_files, parse_component
from skylark_proxy.errors import ConfigError, InvalidArgument
from skylark_proxy.runtime.world import check_world
from wasm_files import COMPONENT, MODULE, OTHER_WORLD, wasm_file

DIGEST = "sha256:" + "ab" * 32
ONCE = RegistrySettings(retries=Retries(attempts=1))


@pytest.mark.parametrize("text", ["app.wasm", "127.0.0.1:5000/app:1.0", "registry.example/app", "/a/oci:/b", "oci:x"])
def test_without_the_scheme_it_is_a_path(text: str) -> None:
    """No path is ever taken for a reference."""
    assert parse_component(text) == Path(text)


def test_with_the_scheme_it_is_a_reference() -> None:
    """`oci://` is what makes one; a wrong one is named."""
    assert parse_component("oci://127.0.0.1:5000/team/app:1.0") == Reference("127.0.0.1:5000", "team/app", "1.0")
    with pytest.raises(InvalidArgument, match=r"^component: 'oci://app' is not valid; expected host/path"):
        parse_component("oci://app")


def test_files_and_folders(tmp_path: Path) -> None:
    """A folder stands for its components, sorted; the same file twice is one."""
    for name in ("b.wasm", "a.wasm", "a.toml"):
        (tmp_path / name).touch()
    assert component_files([tmp_path, tmp_path / "a.wasm"], tmp_path) == [tmp_path / "a.wasm", tmp_path / "b.wasm"]


@pytest.mark.parametrize("name", ["missing.wasm", "empty"])
def test_what_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    """A missing file, and a folder without components."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=f"SKYLARK_FUNCTIONS='.*{name}'"):
        component_files([tmp_path / name], tmp_path)


def test_a_pinned_reference_that_is_known_needs_no_registry(tmp_path: Path) -> None:
    """Once it is in the cache a node starts without the network; there is no registry at this address."""
    cached = tmp_path / "pulled" / ("ab" * 32) / "app.wasm"
    cached.parent.mkdir(parents=True)
    cached.touch()
    reference = Reference("127.0.0.1:1", "team/app", "1.0", DIGEST)
    assert component_files([reference], tmp_path, ONCE) == [cached]


@pytest.mark.parametrize("digest", [None, DIGEST])
def test_a_registry_that_is_away_is_named(tmp_path: Path, digest: str | None) -> None:
    """A tag always has to be asked for; the error can be tried again, and nothing is left in the cache."""
    with pytest.raises(RegistryAway, match=r"^component app: registry 127\.0\.0\.1:1: cannot be reached") as raised:
        component_files([Reference("127.0.0.1:1", "team/app", "1.0", digest)], tmp_path, ONCE)
    assert isinstance(raised.value, ComponentNotPulled) and raised.value.retryable
    assert list(tmp_path.rglob("*.wasm")) == []


def test_the_world_of_a_component() -> None:
    """One that exports the handler is taken; another is refused with what it lacks and what it has."""
    check_world(wasm_file(COMPONENT), "app.wasm")
    with pytest.raises(InvalidArgument) as raised:
        check_world(wasm_file(OTHER_WORLD), "other.wasm")
    assert raised.value.message == (
        "component: 'other.wasm' is not valid; expected a component of the world skylark:state/hosted@0.1.0; "
        "it lacks the export skylark:state/handler@0.1.0, and has wasi:http/incoming-handler@0.2.9"
    )


@pytest.mark.parametrize(
    ("content", "reason"), [(wasm_file(MODULE), "a core module"), (b"text", "no WebAssembly file")]
)
def test_what_is_no_component_at_all(content: bytes, reason: str) -> None:
    """A core module and any other file are told apart."""
    with pytest.raises(InvalidArgument, match=f"expected a WebAssembly component .*{reason}"):
        check_world(content, "x.wasm")
