"""The commands package, push, pull and inspect, and nodes that run what is in a registry, as a user runs them."""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from integration.test_cli import Here, address_in, done, here, refused, skylark, started
from programs import program
from registries import PASSWORD, USER, LiveRegistry, run_registry, run_registry_with_password
from skylark_proxy.config import Config
from wasm_files import COMPONENT, MODULE, OTHER_WORLD, wasm_file

__all__ = ["here"]

OPTIONS = ["--title", "From an option", "--licenses", "MIT"]
MANIFEST = """
ready = 1
[package]
title = "From the manifest"
version = "2.1.0"
description = "An app"
source = "https://example.org/app"
"""


@pytest.fixture(scope="module")
def registry() -> Iterator[LiveRegistry]:
    with run_registry() as running:
        yield running


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A small component with a manifest beside it."""
    path = tmp_path / "app.wasm"
    path.write_bytes(wasm_file(COMPONENT))
    path.with_suffix(".toml").write_text(MANIFEST)
    return path


def read(run: subprocess.CompletedProcess[bytes]) -> Any:
    return json.loads(done(run))


class TestPackage:
    def test_a_layout(self, here: Here, app: Path) -> None:
        """The layout is beside the component; options win over the manifest, which fills in the rest."""
        packed = read(here("package", app, *OPTIONS, "--json"))
        assert (packed["layout"], packed["kind"], packed["tag"]) == (str(app.with_suffix(".oci")), "component", "2.1.0")
        image, artifact, *_ = read(here("inspect", app.with_suffix(".oci"), "--json"))["manifests"]
        for form, one in (("image", image), ("artifact", artifact)):
            assert (one["form"], one["digest"], one["tag"]) == (
                form, packed["forms"][form]["digest"], packed["forms"][form]["tag"],
            )  # fmt: skip
            assert {name.rpartition(".")[2]: text for name, text in one["annotations"].items()} | {"variant": 0} == {
                "title": "From an option",
                "licenses": "MIT",
                "version": "2.1.0",
                "description": "An app",
                "source": "https://example.org/app",
                "variant": 0,
            } | ({"image/variant": "compat"} if form == "image" else {})

    def test_as_text(self, here: Here, app: Path, tmp_path: Path) -> None:
        """A line for each form says what skopeo needs: layout, tag and digest."""
        text = done(here("package", app, "-o", tmp_path / "out.tar", "--tag", "edge"))
        first, second = text.splitlines()
        assert first.startswith(f"{tmp_path}/out.tar:edge  image, ") and "sha256:" in first
        assert second.startswith(f"{tmp_path}/out.tar:edge-artifact  artifact, ")
        assert "form artifact" in done(here("inspect", tmp_path / "out.tar"))

    def test_the_time_of_creation(self, here: Here, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """SOURCE_DATE_EPOCH is all of the clock that gets in: the digests are those of the time that it says."""
        digests = []
        for epoch in ("0", "0", "1772368205"):
            monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
            digests.append(read(here("package", app, "--json"))["forms"]["image"]["digest"])
        assert digests[0] == digests[1] != digests[2]
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
        refused(here("package", app), "SOURCE_DATE_EPOCH", "'today'")

    def test_a_core_module(self, here: Here, tmp_path: Path) -> None:
        """It is packaged as what it is."""
        (tmp_path / "module.wasm").write_bytes(wasm_file(MODULE))
        assert read(here("package", tmp_path / "module.wasm", "--json"))["kind"] == "module"

    def test_wrong_inputs(self, here: Here, app: Path, tmp_path: Path) -> None:
        """Each is one sentence that names what is wrong."""
        (tmp_path / "app.py").write_text("import skylark")
        (tmp_path / "cut.wasm").write_bytes(wasm_file(COMPONENT)[:40])
        (tmp_path / "text").write_text("")
        refused(here("package", tmp_path / "app.py", "-o", tmp_path / "x"), "app.py", "no WebAssembly file")
        refused(here("package", tmp_path / "cut.wasm"), "cut.wasm", "truncated")
        refused(here("package", tmp_path / "none.wasm"), "none.wasm", "No such file")
        refused(here("package", app, "-o", tmp_path / "text"), "text", "it is a file")
        refused(here("package", app, "--tag", "a tag"), "tag", "'a tag'")
        app.with_suffix(".toml").write_text('[package]\nlicence = "MIT"\n')
        refused(here("package", app), "app.toml", "licence")
        assert not (tmp_path / "x").exists()


class TestInspect:
    def test_a_component(self, here: Here, app: Path) -> None:
        """Its kind and interface; what it was built from is not known of this one."""
        seen = read(here("inspect", app, "--json"))
        assert (seen["kind"], seen["imports"], seen["build"]) == ("component", ["wasi:io/poll@0.2.9"], None)
        assert "- skylark:state/handler@0.1.0" in done(here("inspect", app))

    def test_what_was_built(self, here: Here, components: Mapping[str, Path]) -> None:
        """A component that skylark built says what it was built from."""
        build = read(here("inspect", components["stateful"], "--json"))["build"]
        assert build["world"] == "skylark:state/hosted@0.1.0"
        assert [module["name"] for module in build["modules"]] == ["stateful"]

    def test_wrong_inputs(self, here: Here, tmp_path: Path) -> None:
        """A text file, a missing one, and a folder that is no layout."""
        (tmp_path / "app.py").write_text("import skylark")
        refused(here("inspect", tmp_path / "app.py"), "app.py", "no WebAssembly file")
        refused(here("inspect", tmp_path / "none.wasm"), "none.wasm", "No such file")
        refused(here("inspect", tmp_path), str(tmp_path), "Is a directory")


class TestRegistry:
    def test_there_and_back(self, here: Here, app: Path, registry: LiveRegistry, tmp_path: Path) -> None:
        """A layout is pushed, shown and pulled; the pinned references are on stdout, one a line."""
        place = f"{registry.host}/commands/app"
        done(here("package", app))
        lines = done(here("push", app.with_suffix(".oci"), f"{place}:1.0")).splitlines()
        assert [line.partition("@")[0] for line in lines] == [f"{place}:1.0", f"{place}:1.0-artifact"]
        for line in lines:
            seen = read(here("inspect", line, "--json"))
            assert seen["reference"] == line
            assert [one["type"] for one in seen["referrers"]] == ["application/vnd.cyclonedx+json"]
            pulled = read(here("pull", f"oci://{line}", "-o", tmp_path / "back.wasm", "--json"))
            assert pulled["reference"] == line
            assert (tmp_path / "back.wasm").read_bytes() == app.read_bytes()

    def test_a_component_is_packaged_on_the_way(self, here: Here, app: Path, registry: LiveRegistry) -> None:
        """It has the digests that it has in a layout, and a second push sends no blob."""
        place = f"{registry.host}/commands/direct:1.0"
        packed = read(here("package", app, "--json"))
        for sent in (True, False):
            pushed = read(here("push", app, place, "--json"))
            assert pushed["references"]["image"] == f"{place}@{packed['forms']['image']['digest']}"
            assert (pushed["sent_bytes"] > 0) is sent

    def test_a_form_of_its_own(self, here: Here, app: Path, registry: LiveRegistry) -> None:
        """`--form` pushes that one under the tag itself."""
        place = f"{registry.host}/commands/form:1.0"
        assert list(read(here("push", app, place, "--form", "artifact", "--json"))["references"]) == ["artifact"]
        assert read(here("inspect", place, "--json"))["form"] == "artifact"

    def test_wrong_inputs(self, here: Here, app: Path, registry: LiveRegistry, tmp_path: Path) -> None:
        """Names, tags and files that are wrong are one sentence each, and no file is left."""
        (tmp_path / "app.py").write_text("import skylark")
        refused(here("push", app, f"{registry.host}/Commands/app"), "Commands/app", "a path of a-z")
        refused(here("push", app, "commands/app:1.0"), "commands/app:1.0", "host/path")
        refused(here("push", tmp_path / "app.py", f"{registry.host}/a:1"), "app.py", "an OCI layout")
        refused(
            here("pull", f"{registry.host}/commands/none:9", "-o", tmp_path / "x"),
            "commands/none:9",
            "not in the registry",
        )
        refused(here("inspect", f"{registry.host}/commands/none:9"), "commands/none:9", "not in the registry")
        refused(here("push", app, f"{registry.host}/a:1", "--form", "both"), "--form", status=2)
        assert not (tmp_path / "x").exists()

    def test_credentials_of_docker_login(
        self, here: Here, app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A registry with a password is pushed to with what is in the file; without it the error says what to do."""
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
        (tmp_path / "auth.json").write_text("{}")
        with run_registry_with_password() as locked:
            refused(here("push", app, f"{locked.host}/app:1.0"), "docker login")
            entry = {"username": USER, "password": PASSWORD}
            (tmp_path / "auth.json").write_text(json.dumps({"auths": {locked.host: entry}}))
            done(here("push", app, f"{locked.host}/app:1.0"))

    def test_the_benchmark(self, here: Here, registry: LiveRegistry) -> None:
        """It measures each operation, and skopeo's beside it."""
        program("skopeo", "skopeo")
        measured = read(here("bench", "package", f"{registry.host}/bench", "--rounds", "1", "--json"))["results"]
        names = ["package", "push", "push again", "pull image", "pull artifact"]
        assert [one["operation"] for one in measured] == names
        assert all(one["skylark_s"] > 0 for one in measured)
        assert all(one["skopeo_s"] > 0 for one in measured[1:]) and measured[0]["skopeo_s"] is None


class TestNodes:
    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, registry: LiveRegistry, components: Mapping[str, Path]) -> str:
        """A built component in the registry; its pinned reference."""
        place = f"{registry.host}/commands/stateful:1.0"
        return str(read(skylark("push", components["stateful"], place, "--json"))["references"]["image"])

    @pytest.mark.parametrize("command", ["run", "serve"])
    def test_a_node_runs_what_is_in_a_registry(self, place: str, tmp_path: Path, command: str) -> None:
        """By tag, from the command line; the log has the digest that it ran."""
        compiled = Config.load({}).cache_dir / "compiled"  # what is compiled is shared, what is pulled is not
        compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "compiled").symlink_to(compiled)
        tag = place.partition("@")[0]
        with started(tmp_path, command, f"oci://{tag}", "--port", "0", SKYLARK_CACHE_DIR=str(tmp_path / "cache")) as (
            process, log,
        ):  # fmt: skip
            url = address_in(process, log)
            assert done(skylark("invoke", "relay", "-d", "hello", "--url", url)) == "hello"
            assert f"component {place}: pulled" in log.read_text()
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0

    def test_several_functions_in_the_environment(self, place: str, app: Path, tmp_path: Path) -> None:
        """SKYLARK_FUNCTIONS takes references and paths; one of another world ends the start."""
        other = tmp_path / "other.wasm"
        other.write_bytes(wasm_file(OTHER_WORLD))
        settings = {
            "SKYLARK_FUNCTIONS": f"oci://{place},{other}",
            "SKYLARK_PORT": "0",
            "SKYLARK_DATA_DIR": str(tmp_path),
        }
        text = skylark("serve", settings=settings, cwd=tmp_path).stderr.decode()
        assert "component stateful.wasm: " in text
        assert "other.wasm" in text and "it lacks the export skylark:state/handler@0.1.0" in text
        assert "Traceback" not in text

    @pytest.mark.parametrize("command", ["run", "serve"])
    def test_what_cannot_run_is_refused(self, registry: LiveRegistry, tmp_path: Path, command: str) -> None:
        """A component of another world can be packaged and pushed; a node refuses it and says what it lacks."""
        (tmp_path / "other.wasm").write_bytes(wasm_file(OTHER_WORLD))
        place = f"{registry.host}/commands/other:1.0"
        done(skylark("push", tmp_path / "other.wasm", place))
        settings = {"SKYLARK_CACHE_DIR": str(tmp_path / "cache"), "SKYLARK_DATA_DIR": str(tmp_path / "data")}
        for what in (tmp_path / "other.wasm", f"oci://{place}"):
            run = skylark(command, what, "--port", "0", settings=settings, cwd=tmp_path)
            text = run.stderr.decode()
            assert (run.returncode, run.stdout) == (1, b"")
            assert "it lacks the export skylark:state/handler@0.1.0, and has wasi:http/incoming-handler@0.2.9" in text
            assert "Traceback" not in text

    def test_what_is_not_there_ends_the_start(self, registry: LiveRegistry, tmp_path: Path) -> None:
        """A missing tag, a registry that is away and a reference that is none are one sentence each."""
        settings = {"SKYLARK_DATA_DIR": str(tmp_path / "data"), "SKYLARK_PORT": "0"}
        for what, named in (
            (f"oci://{registry.host}/commands/none:9", "commands/none:9: not in the registry"),
            ("oci://app", "expected host/path"),
        ):
            run = skylark("serve", what, settings=settings, cwd=tmp_path)
            assert run.returncode == 1 and run.stdout == b""
            assert named in run.stderr.decode() and "Traceback" not in run.stderr.decode()
