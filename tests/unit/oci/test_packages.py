"""A package has both accepted forms as their specifications say, and the same bytes whenever it is made."""

import gzip
import hashlib
import io
import itertools
import json
import tarfile
from datetime import UTC, datetime
from typing import Any

import pytest

from skylark_oci.documents import digest_of
from skylark_oci.errors import InvalidWasm
from skylark_oci.images import Form
from skylark_oci.metadata import InvalidMetadata, Metadata, created_at
from skylark_oci.packages import Package, package
from skylark_oci.record import BuildRecord, encode_record
from wasm_files import COMMAND, COMPONENT, MODULE, OTHER_WORLD, wasm_file

CREATED = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
METADATA = Metadata(
    title="Fire alarm",
    version="1.2.0",
    source="https://example.org/alarm",
    description="Raises an alarm",
    licenses="Apache-2.0",
)
RECORD = encode_record(BuildRecord("skylark:state/hosted@0.1.0", {"skylark": "0.1.0"}, [], []))


def manifest_of(packed: Package, form: Form) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(packed.forms[form].content)
    return document


def execution_of(text: str) -> dict[str, Any]:
    """How the image of a WebAssembly text is run, by its configuration."""
    packed = package(wasm_file(text), "alarm", METADATA)
    config: dict[str, Any] = json.loads(blob(packed, Form.IMAGE, manifest_of(packed, Form.IMAGE)["config"]))
    execution: dict[str, Any] = config["config"]
    return execution


def blob(packed: Package, form: Form, descriptor: dict[str, Any]) -> bytes:
    """The content of a descriptor, which has to be as large as it says."""
    content = packed.forms[form].blobs[descriptor["digest"]]
    assert (len(content), digest_of(content)) == (descriptor["size"], descriptor["digest"])
    return content


class TestArtifact:
    """CNCF TAG Runtime, "Wasm OCI Artifact layout", tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact."""

    def test_manifest_format(self) -> None:
        """Section "Manifest format": the configuration's type says what it is, and there is one layer."""
        content = wasm_file(COMPONENT)
        packed = package(content, "alarm", METADATA)
        manifest = manifest_of(packed, Form.ARTIFACT)
        assert manifest["schemaVersion"] == 2
        assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        assert manifest["config"]["mediaType"] == "application/vnd.wasm.config.v0+json"
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == "application/wasm"
        assert blob(packed, Form.ARTIFACT, layer) == content

    def test_config_of_a_component(self) -> None:
        """Section "Config.mediaType": every member that the specification names, with the component's own names."""
        content = wasm_file(COMPONENT) + RECORD
        packed = package(content, "alarm", METADATA, created=CREATED)
        config = json.loads(blob(packed, Form.ARTIFACT, manifest_of(packed, Form.ARTIFACT)["config"]))
        assert config == {
            "created": "2026-03-01T12:30:05Z",
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [f"sha256:{hashlib.sha256(content).hexdigest()}"],
            "component": {
                "exports": ["skylark:state/handler@0.1.0"],
                "imports": ["wasi:io/poll@0.2.9"],
                "target": "skylark:state/hosted@0.1.0",
            },
        }

    def test_config_of_a_module(self) -> None:
        """A core module is `wasip1`, and has no member `component`."""
        packed = package(wasm_file(MODULE), "alarm", METADATA)
        config = json.loads(blob(packed, Form.ARTIFACT, manifest_of(packed, Form.ARTIFACT)["config"]))
        assert (config["os"], config["architecture"]) == ("wasip1", "wasm")
        assert "component" not in config

    def test_a_component_of_unknown_world_has_no_target(self) -> None:
        """`target` is optional: what is not known is not made up."""
        packed = package(wasm_file(COMPONENT), "alarm", METADATA)
        config = json.loads(blob(packed, Form.ARTIFACT, manifest_of(packed, Form.ARTIFACT)["config"]))
        assert "target" not in config["component"]


class TestImage:
    def test_platform(self) -> None:
        """The configuration is that of the platform wasi/wasm, and the entrypoint ends in .wasm."""
        packed = package(wasm_file(COMPONENT), "alarm", METADATA, created=CREATED)
        manifest = manifest_of(packed, Form.IMAGE)
        config = json.loads(blob(packed, Form.IMAGE, manifest["config"]))
        assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
        assert (config["architecture"], config["os"]) == ("wasm", "wasi")
        assert config["config"]["Entrypoint"] == ["/alarm.wasm"]
        assert config["created"] == "2026-03-01T12:30:05Z"

    @pytest.mark.parametrize("text", [COMPONENT, OTHER_WORLD, COMMAND, MODULE])
    def test_no_image_runs_as_root(self, text: str) -> None:
        """A user is named by number, which a kubelet needs to know that it is not root (`runAsNonRoot`)."""
        user, group = execution_of(text)["User"].split(":")
        assert (int(user) > 0, int(group) > 0) == (True, True)

    @pytest.mark.parametrize(
        ("text", "signal"), [(MODULE, "SIGKILL"), (COMMAND, "SIGKILL"), (OTHER_WORLD, None), (COMPONENT, None)]
    )
    def test_a_program_that_ignores_sigterm_is_killed(self, text: str, signal: str | None) -> None:
        """A module or command is process 1 and never sees SIGTERM; a runtime that serves wasi:http handles it."""
        assert execution_of(text).get("StopSignal") == signal

    def test_root_filesystem(self) -> None:
        """One gzipped layer with the one file; the configuration has its digest before compression."""
        content = wasm_file(COMPONENT)
        packed = package(content, "alarm", METADATA)
        manifest = manifest_of(packed, Form.IMAGE)
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
        archive = gzip.decompress(blob(packed, Form.IMAGE, layer))
        config = json.loads(blob(packed, Form.IMAGE, manifest["config"]))
        assert config["rootfs"] == {"type": "layers", "diff_ids": [digest_of(archive)]}
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            (member,) = opened.getmembers()
            file = opened.extractfile(member)
            assert (member.name, member.uid, member.gid, member.mode) == ("alarm.wasm", 0, 0, 0o755)
            assert file is not None and file.read() == content

    def test_crun_knows_it(self) -> None:
        """The annotation by which crun's handler for Wasm takes an image (crun, docs/wasm-wasi-example.md)."""
        manifest = manifest_of(package(wasm_file(COMPONENT), "alarm", METADATA), Form.IMAGE)
        assert manifest["annotations"]["module.wasm.image/variant"] == "compat"

    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("größer app", "gr--er-app.wasm"),
            ("..", "component.wasm"),
            ("-a/b", "a-b.wasm"),
            ("x" * 99, "x" * 64 + ".wasm"),
        ],
    )
    def test_the_file_has_a_name_for_every_tool(self, name: str, file: str) -> None:
        """Whatever the component is called, no path, space or option gets into the image."""
        packed = package(wasm_file(COMPONENT), name, Metadata())
        config = json.loads(blob(packed, Form.IMAGE, manifest_of(packed, Form.IMAGE)["config"]))
        assert config["config"]["Entrypoint"] == [f"/{file}"]


class TestMetadata:
    @pytest.mark.parametrize("form", Form)
    def test_annotations(self, form: Form) -> None:
        """What people say of it is in the standard annotations of both forms."""
        annotations = manifest_of(package(wasm_file(COMPONENT), "alarm", METADATA, created=CREATED), form)[
            "annotations"
        ]
        prefix = "org.opencontainers.image."
        assert {name.removeprefix(prefix): text for name, text in annotations.items() if name.startswith(prefix)} == {
            "title": "Fire alarm",
            "version": "1.2.0",
            "source": "https://example.org/alarm",
            "description": "Raises an alarm",
            "licenses": "Apache-2.0",
            "created": "2026-03-01T12:30:05Z",
        }

    def test_what_nobody_said_is_not_there(self) -> None:
        """Without metadata the title is the name, and nothing else is made up."""
        annotations = manifest_of(package(wasm_file(COMPONENT), "alarm", Metadata()), Form.ARTIFACT)["annotations"]
        assert annotations == {"org.opencontainers.image.title": "alarm"}

    def test_one_over_another(self) -> None:
        """What is said first wins, and what it lacks comes from the other."""
        assert Metadata(title="a").over(Metadata(title="b", version="2")) == Metadata(title="a", version="2")

    @pytest.mark.parametrize(
        ("tag", "version", "expected"),
        [(None, None, "latest"), (None, "1.2.0+build7", "1.2.0_build7"), ("edge", "1.2.0", "edge")],
    )
    def test_the_tag(self, tag: str | None, version: str | None, expected: str) -> None:
        """The tag is the one that is given, else the version as a tag can be, else `latest`."""
        packed = package(wasm_file(COMPONENT), "alarm", Metadata(version=version), tag)
        assert packed.tags == {Form.IMAGE: expected, Form.ARTIFACT: f"{expected}-artifact"}

    @pytest.mark.parametrize(
        ("tag", "version", "named"),
        [
            ("a b", None, "tag: 'a b'"),
            (None, "1 beta", "version: '1 beta'"),
            ("x" * 120, None, "1 to 119 of"),
            ("", "1", "tag: ''"),
        ],
    )
    def test_what_can_be_no_tag_is_named(self, tag: str | None, version: str | None, named: str) -> None:
        """The error says whether the tag or the version is wrong."""
        with pytest.raises(InvalidMetadata) as raised:
            package(wasm_file(COMPONENT), "alarm", Metadata(version=version), tag)
        assert named in raised.value.message

    def test_the_time_of_a_reproducible_build(self) -> None:
        """SOURCE_DATE_EPOCH is the time; without it there is none."""
        assert created_at({"SOURCE_DATE_EPOCH": "1772368205"}) == CREATED
        assert created_at({}) is None
        with pytest.raises(InvalidMetadata, match="SOURCE_DATE_EPOCH: 'now' is not valid"):
            created_at({"SOURCE_DATE_EPOCH": "now"})


class TestReproducibility:
    @pytest.mark.parametrize("created", [None, CREATED])
    def test_the_same_again(self, monkeypatch: pytest.MonkeyPatch, created: datetime | None) -> None:
        """Packaged a day later, every byte is the same: of manifests, configurations, layers and bills of materials."""
        content = wasm_file(COMPONENT) + RECORD
        days = itertools.count(CREATED.timestamp(), 86_400)
        monkeypatch.setattr("time.time", lambda: next(days))
        one, other = (package(content, "alarm", METADATA, created=created).layout() for _ in range(2))
        assert one.index.encode() == other.index.encode()
        assert dict(one.blobs) == dict(other.blobs)

    def test_known_digests(self) -> None:
        """The bytes do not change unnoticed from one version to the next."""
        packed = package(b"\0asm\x0d\0\x01\0", "alarm", METADATA, created=CREATED)
        assert packed.forms[Form.ARTIFACT].descriptor.digest == ARTIFACT_DIGEST
        config = packed.forms[Form.IMAGE].manifest.config
        assert config.digest == IMAGE_CONFIG_DIGEST

    def test_another_component_is_another_package(self) -> None:
        """No digest stays when the content changes."""
        one, other = (package(wasm_file(COMPONENT) + end, "alarm", METADATA) for end in (b"", RECORD))
        for form in Form:
            assert one.forms[form].descriptor.digest != other.forms[form].descriptor.digest
            assert one.sboms[form].descriptor.digest != other.sboms[form].descriptor.digest


ARTIFACT_DIGEST = "sha256:4a5d0e2e8200078691da4ac0faf87b2c267231a7587426023ea00260f1f0cc97"
IMAGE_CONFIG_DIGEST = "sha256:c78742073093828a4d87d17a2edc75e0f958fb023b215f66f362311a4d6ec2ac"
"""Of an empty component. The layer itself is gzipped, and how is for the machine's zlib to say."""


class TestLayout:
    def test_two_forms_under_two_tags(self) -> None:
        """Each form has a manifest of its own in the index, told apart by tag; no index by platforms is in between."""
        index = json.loads(package(wasm_file(COMPONENT), "alarm", METADATA).layout().index.encode())
        image, artifact, *sboms = index["manifests"]
        tags = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in (image, artifact)]
        assert tags == ["1.2.0", "1.2.0-artifact"]
        assert {entry["mediaType"] for entry in index["manifests"]} == {"application/vnd.oci.image.manifest.v1+json"}
        assert image["platform"] == {"architecture": "wasm", "os": "wasi"}
        assert artifact["platform"] == {"architecture": "wasm", "os": "wasip2"}
        assert [entry["artifactType"] for entry in sboms] == ["application/vnd.cyclonedx+json"] * 2
        assert all("annotations" not in entry for entry in sboms)

    def test_each_form_has_its_bill_of_materials(self) -> None:
        """It is an artifact whose subject is the manifest (image specification 1.1, "Artifacts")."""
        packed = package(wasm_file(COMPONENT), "alarm", METADATA)
        for form in Form:
            manifest = json.loads(packed.sboms[form].content)
            assert manifest["artifactType"] == "application/vnd.cyclonedx+json"
            assert manifest["subject"]["digest"] == packed.forms[form].descriptor.digest
            assert manifest["subject"]["size"] == len(packed.forms[form].content)
            assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
            assert packed.sboms[form].blobs[manifest["config"]["digest"]] == b"{}"
            (layer,) = manifest["layers"]
            assert json.loads(packed.sboms[form].blobs[layer["digest"]])["bomFormat"] == "CycloneDX"

    def test_what_is_no_wasm_file_is_refused(self) -> None:
        """The error has the name that the caller gave the file."""
        with pytest.raises(InvalidWasm, match=r"^dist/app\.py: no WebAssembly file"):
            package(b"import skylark", "app", Metadata(), where="dist/app.py")
