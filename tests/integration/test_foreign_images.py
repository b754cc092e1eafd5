"""Images as other tools push them, in a real registry: their layers, entrypoints, nulls, indexes and challenges."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registries import Fault, LiveRegistry, faulty, run_registry, run_registry_with_tokens
from skylark_oci.documents import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    IMAGE_CONFIG,
    IMAGE_LAYER,
    INDEX,
    MANIFEST,
    describe,
    digest_of,
)
from skylark_oci.errors import InvalidPackage
from skylark_oci.pull import pull
from skylark_oci.reference import Reference
from skylark_oci.registry import Registry
from skylark_oci.settings import RegistrySettings, Retries
from wasm_files import COMPONENT, wasm_file

CONTENT = wasm_file(COMPONENT)
SETTINGS = RegistrySettings(credentials=lambda _host, _repository: None, retries=Retries(attempts=1))
TAR_LAYER = IMAGE_LAYER.removesuffix("+gzip")
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MOST_INDEXES, MOST_MANIFESTS = 4, 64

Layer = tuple[bytes, str]


@pytest.fixture(scope="module")
def registry() -> Iterator[LiveRegistry]:
    with run_registry() as running:
        yield running


@dataclass(frozen=True)
class Pusher:
    """Puts contents into a repository as they are, whatever Skylark itself would write."""

    reference: Reference
    settings: RegistrySettings = SETTINGS

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Upload a blob; return its descriptor."""
        described = describe(content, media_type)
        with Registry(self.reference, "pull,push", self.settings) as opened:
            opened.upload(described, content, lambda _done: None)
        return {"mediaType": media_type, "digest": described.digest, "size": described.size}

    def document(self, document: dict[str, Any], media_type: str = MANIFEST, **more: Any) -> dict[str, Any]:
        """Store a manifest or index under its digest and the reference's tag; return its descriptor, with `more`."""
        content = json.dumps({"schemaVersion": 2, "mediaType": media_type} | document).encode()
        with Registry(self.reference, "pull,push", self.settings) as opened:
            for target in (digest_of(content), str(self.reference.tag)):
                opened.put_manifest(target, content, media_type)
        return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)} | more

    def image(self, layers: Sequence[Layer], execution: object, **more: Any) -> dict[str, Any]:
        """Push an image with these layers and this `config` of its configuration."""
        config = {"architecture": "wasm", "os": "wasi", "config": execution, "rootfs": {"type": "layers"}}
        described = self.blob(json.dumps(config).encode(), IMAGE_CONFIG)
        return self.document({"config": described, "layers": [self.blob(*layer) for layer in layers]} | more)


@pytest.fixture
def pusher(registry: LiveRegistry, tmp_path: Path) -> Pusher:
    """A repository of this test alone."""
    return Pusher(Reference(registry.host, f"others/{digest_of(str(tmp_path).encode())[7:27]}", "1"))


def tar(*members: tuple[str, bytes | str]) -> bytes:
    """Make an archive. A text is what a symbolic link leads to, after a `=` what a hard link names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                entry.size = len(content)
                opened.addfile(entry, io.BytesIO(content))
            else:
                entry.type = tarfile.LNKTYPE if content.startswith("=") else tarfile.SYMTYPE
                entry.linkname = content.removeprefix("=")
                opened.addfile(entry)
    return buffer.getvalue()


def zipped(content: bytes, media_type: str = IMAGE_LAYER) -> Layer:
    return gzip.compress(content, mtime=0), media_type


def pulled(pusher: Pusher, folder: Path) -> bytes:
    pull(pusher.reference, folder / "app.wasm", pusher.settings)
    return (folder / "app.wasm").read_bytes()


APP = tar(("app.wasm", CONTENT))
OTHER = tar(("app.wasm", b"an earlier one"))


class TestLayers:
    @pytest.mark.parametrize(
        "layers",
        [
            [(APP, TAR_LAYER)],
            [(APP, IMAGE_LAYER)],
            [zipped(APP, TAR_LAYER)],
            [zipped(APP, DOCKER_LAYER)],
            [zipped(OTHER), (APP, TAR_LAYER)],
            [(APP, TAR_LAYER), zipped(tar(("etc/passwd", b"root")))],
            [zipped(tar(("app.wasm", "lib/real.wasm"), ("lib/real.wasm", CONTENT)))],
            [zipped(tar(("lib/real.wasm", CONTENT), ("app.wasm", "/lib/real.wasm")))],
            [zipped(tar(("lib/real.wasm", CONTENT), ("app.wasm", "=lib/real.wasm")))],
            [zipped(tar(("a", CONTENT), ("b", "=a"), ("app.wasm", "./b")))],
            [zipped(tar(("lib/real.wasm", CONTENT))), zipped(tar(("app.wasm", "lib/real.wasm")))],
            [zipped(tar(("old", CONTENT), ("app.wasm", "=old"))), zipped(tar((".wh.old", b"")))],
            [zipped(tar(("lib", "usr/lib"), ("usr/lib/app.wasm", CONTENT), ("app.wasm", "lib/app.wasm")))],
            [zipped(OTHER), zipped(tar((".wh.app.wasm", b""))), zipped(APP)],
        ],
        ids=[
            "tar", "tar-called-gzip", "gzip-called-tar", "docker", "upper-hides", "lower-has-it", "symlink",
            "absolute-symlink", "hard-link", "links-in-a-row", "symlink-to-a-lower-layer", "hard-link-to-what-is-gone",
            "symlinked-folder", "removed-and-there-again",
        ],
    )  # fmt: skip
    def test_they_are_read(self, pusher: Pusher, tmp_path: Path, layers: list[Layer]) -> None:
        """Compressed or not, whatever the type says, and over links, the entrypoint's file is found."""
        pusher.image(layers, {"Entrypoint": ["/app.wasm"]})
        assert pulled(pusher, tmp_path) == CONTENT

    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            ([(b"\x28\xb5\x2f\xfd1234", f"{TAR_LAYER}+zstd")], "skopeo copy --dest-compress-format gzip"),
            ([(b"\x28\xb5\x2f\xfd1234", IMAGE_LAYER)], "skopeo copy --dest-compress-format gzip"),
            ([(b"no archive at all", IMAGE_LAYER)], "tar archives"),
            ([zipped(APP), zipped(tar((".wh.app.wasm", b"")))], "a layer removes it"),
            ([zipped(tar(("app.wasm", "b.wasm"), ("b.wasm", "app.wasm")))], "not links to links"),
            ([zipped(tar(("app.wasm", "/nowhere")))], "in one of the layers"),
            ([zipped(tar(("etc/passwd", b"root")))], "/app.wasm in one of the layers"),
            ([(APP, "application/x-tar")], "not application/x-tar"),
        ],
        ids=["zstd", "zstd-called-gzip", "no-archive", "removed", "circle", "dangling", "missing", "type"],
    )
    def test_what_cannot_be_read_is_refused(
        self, pusher: Pusher, tmp_path: Path, layers: list[Layer], expected: str
    ) -> None:
        """The error says what was expected, with advice where there is any, and no file is left."""
        pusher.image(layers, {"Entrypoint": ["/app.wasm"]})
        with pytest.raises(InvalidPackage) as raised:
            pulled(pusher, tmp_path)
        assert expected in raised.value.message
        assert list(tmp_path.iterdir()) == []


class TestConfigurations:
    @pytest.mark.parametrize(
        "execution",
        [
            {"Entrypoint": None, "Cmd": ["/app.wasm", "--flag"]},
            {"Entrypoint": [], "Cmd": ["app.wasm"], "WorkingDir": ""},
            {"Entrypoint": ["app.wasm"], "WorkingDir": "/"},
            {"Entrypoint": ["/app.wasm#run"], "Cmd": None, "User": None, "Labels": None, "Env": None, "Volumes": None},
        ],
    )
    def test_the_entrypoint_else_the_command(self, pusher: Pusher, tmp_path: Path, execution: object) -> None:
        """The first word of both names the file; what is null is as if it were absent."""
        pusher.image([zipped(APP)], execution)
        assert pulled(pusher, tmp_path) == CONTENT

    @pytest.mark.parametrize("execution", [None, {}, {"Entrypoint": None, "Cmd": None}, {"Entrypoint": ["/bin/sh"]}])
    def test_no_entrypoint(self, pusher: Pusher, tmp_path: Path, execution: object) -> None:
        """An image that runs nothing, or another program, is refused before a layer is pulled."""
        pusher.image([zipped(APP)], execution)
        with pytest.raises(InvalidPackage, match=r"an entrypoint that ends in \.wasm"):
            pulled(pusher, tmp_path)

    def test_nulls_in_a_manifest(self, pusher: Pusher, tmp_path: Path) -> None:
        """Members without a value are null where a program in Go wrote them."""
        config = json.dumps({"architecture": "wasm", "config": {"Entrypoint": ["app.wasm"]}, "rootfs": None}).encode()
        nothing = {"annotations": None, "urls": None, "platform": None, "data": None}
        layers = [pusher.blob(*zipped(APP)) | nothing]
        config_described = pusher.blob(config, IMAGE_CONFIG) | nothing
        document = {"config": config_described, "layers": layers, "subject": None, "annotations": None}
        entry = pusher.document(document | {"artifactType": None})
        assert pulled(pusher, tmp_path) == CONTENT
        pusher.document({"manifests": [entry | nothing], "annotations": None, "subject": None}, INDEX)
        assert pulled(pusher, tmp_path) == CONTENT

    def test_docker_s_own_types(self, pusher: Pusher, tmp_path: Path) -> None:
        """Manifest, list and configuration may be of Docker's types."""
        config = json.dumps({"architecture": "wasm", "config": {"Cmd": ["/app.wasm"]}}).encode()
        layers = [pusher.blob(*zipped(APP, DOCKER_LAYER))]
        entry = pusher.document({"config": pusher.blob(config, DOCKER_CONFIG), "layers": layers}, DOCKER_MANIFEST)
        platform = {"architecture": "wasm", "os": "wasi"}
        pusher.document({"manifests": [entry | {"platform": platform}]}, DOCKER_INDEX)
        assert pulled(pusher, tmp_path) == CONTENT


class TestIndexes:
    @pytest.mark.parametrize("depth", [MOST_INDEXES, MOST_INDEXES + 1])
    def test_indexes_in_indexes(self, pusher: Pusher, tmp_path: Path, depth: int) -> None:
        """Some are followed, more than that are refused."""
        entry = pusher.image([zipped(APP)], {"Entrypoint": ["/app.wasm"]})
        for _ in range(depth):
            entry = pusher.document({"manifests": [entry]}, INDEX)
        if depth <= MOST_INDEXES:
            assert pulled(pusher, tmp_path) == CONTENT
        else:
            with pytest.raises(InvalidPackage, match=f"at most {MOST_INDEXES} indexes in each other"):
                pulled(pusher, tmp_path)

    @pytest.mark.parametrize("others", [MOST_MANIFESTS - 2, MOST_MANIFESTS])
    def test_many_manifests(self, pusher: Pusher, tmp_path: Path, others: int) -> None:
        """What is no component is passed over, up to a number of manifests; they may be in several indexes."""
        empty = pusher.blob(b"{}", "application/vnd.oci.empty.v1+json")
        document = {"config": empty, "layers": [empty]}
        entries = [pusher.document(document | {"annotations": {"number": str(number)}}) for number in range(others)]
        entries.append(pusher.image([zipped(APP)], {"Entrypoint": ["/app.wasm"]}))
        pusher.document({"manifests": entries}, INDEX)
        if others < MOST_MANIFESTS - 1:
            assert pulled(pusher, tmp_path) == CONTENT
        else:
            with pytest.raises(InvalidPackage, match=f"at most {MOST_MANIFESTS} manifests to look at"):
                pulled(pusher, tmp_path)

    def test_images_of_linux_are_passed_over(self, pusher: Pusher, tmp_path: Path) -> None:
        """Of images without a platform, the one whose entrypoint is a component is taken."""
        linux = pusher.image([zipped(APP)], {"Entrypoint": ["/bin/sh"]})
        component = pusher.image([zipped(APP)], {"Entrypoint": ["/app.wasm"]})
        pusher.document({"manifests": [linux, component]}, INDEX)
        assert pulled(pusher, tmp_path) == CONTENT


class TestAccess:
    @pytest.mark.parametrize("first", [True, False])
    def test_challenges_in_several_header_lines(self, tmp_path: Path, first: bool) -> None:
        """Of `Negotiate`, Basic and Bearer, each in a line of its own, Bearer is answered, without credentials too."""
        with run_registry_with_tokens() as (registry, tokens), faulty(registry) as front:
            tokens.grants[""] = ["pull", "push"]
            pusher = Pusher(Reference(front.host, "others/app", "1"))
            pusher.image([zipped(APP)], {"Entrypoint": ["/app.wasm"]})
            bearer = f'Bearer realm="{registry.realm}",service="registry.tests"'
            others = ["Negotiate", 'Basic realm="x"']
            lines = [bearer, *others] if first else [*others, bearer]
            front.faults.append(Fault("GET", "/manifests/", "status", status=401, headers={"WWW-Authenticate": lines}))
            assert pulled(pusher, tmp_path) == CONTENT
            assert tokens.asked[-1] == ("", "repository:others/app:pull")

    @pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
    def test_short_names_of_docker_hub(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str) -> None:
        """A name without a user is below `library/`: in the path, and in the scope of the token."""
        with run_registry_with_tokens() as (registry, tokens), faulty(registry) as hub:
            tokens.grants[""] = ["pull", "push"]
            at_home = Pusher(Reference(registry.host, "library/app", "1"))
            at_home.image([zipped(APP)], {"Entrypoint": ["/app.wasm"]})
            monkeypatch.setenv("http_proxy", f"http://{hub.host}")
            monkeypatch.delenv("no_proxy", raising=False)
            plain = RegistrySettings((host,), SETTINGS.credentials, SETTINGS.retries)
            assert pulled(Pusher(Reference(host, "app", "1"), plain), tmp_path) == CONTENT
            assert tokens.asked[-1] == ("", "repository:library/app:pull")
            assert hub.count("GET", "^http://registry-1\\.docker\\.io/v2/library/app/manifests/1$") > 0
