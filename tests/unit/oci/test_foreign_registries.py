"""What other tools and registries write is read: layers, indexes, challenges, realms and credentials' files."""

import contextlib
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from skylark_oci.challenge import parse_challenges, preferred
from skylark_oci.credentials import find_credentials
from skylark_oci.documents import IMAGE_CONFIG, INDEX, MANIFEST, Manifest, describe
from skylark_oci.errors import AccessDenied, InvalidPackage
from skylark_oci.images import Form, form_of
from skylark_oci.reference import Reference
from skylark_oci.registry import _media_type
from skylark_oci.transport import Transport, _retry_after_s
from skylark_oci.unpack import unpack


def archive(*members: tuple[str, bytes, str]) -> bytes:
    """A plain layer; the last of each is what a hard link names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name, content, link in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.linkname = len(content), link
            entry.type = tarfile.LNKTYPE if link else tarfile.REGTYPE
            opened.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(content: bytes) -> bytes:
    with tempfile.TemporaryFile() as output:
        unpack([lambda: io.BytesIO(content)], "/srv/app.wasm", output, "image")
        output.seek(0)
        return output.read()


def test_plain_layers_and_hard_links() -> None:
    """A layer without compression is read, and a hard link leads to its file."""
    assert unpacked(archive(("srv/app.wasm", b"x", ""))) == b"x"
    assert unpacked(archive(("a", b"y", ""), ("srv/app.wasm", b"", "a"))) == b"y"


@pytest.mark.parametrize("name", ["srv/.wh.app.wasm", "srv/.wh..wh..opq", ".wh.srv"])
def test_what_a_layer_removes_is_not_taken_from_below(name: str) -> None:
    """A whiteout hides the file of the layers below, but not one of its own layer."""
    with pytest.raises(InvalidPackage, match="a layer removes it"):
        unpacked(archive((name, b"", "")))
    assert unpacked(archive((name, b"", ""), ("srv/app.wasm", b"z", ""))) == b"z"


def test_zstd_is_refused_with_advice() -> None:
    """The error says what to do about it."""
    with pytest.raises(InvalidPackage, match="not zstd; pack it anew with gzip"):
        unpacked(b"\x28\xb5\x2f\xfd1234")


@pytest.mark.parametrize(
    ("header", "scheme"),
    [
        ('Basic realm="x", Bearer realm="http://a/token",service="s"', "bearer"),
        ("Negotiate, Bearer realm=http://a/token", "bearer"),
        ("Negotiate abc==, BASIC realm=x", "basic"),
        ("Negotiate", None),
    ],
)
def test_of_several_challenges_bearer_is_answered(header: str, scheme: str | None) -> None:
    """Bearer comes first, then Basic, wherever they stand."""
    chosen = preferred(parse_challenges(header))
    assert (chosen.scheme if chosen else None) == scheme
    assert chosen is None or set(chosen.parameters) >= {"realm"}


@pytest.mark.parametrize("realm", ["/token", '"/token"', '"http://"', '"http://[x/t"', '"ftp://a/t"', '"http://a:x/"'])
def test_a_realm_that_is_no_url_is_refused_at_once(realm: str) -> None:
    """No request is sent, and none is tried again."""
    challenge = preferred(parse_challenges(f"Bearer realm={realm}"))
    transport = Transport(Reference("127.0.0.1:1", "app", "1"), "pull", True, lambda _host, _repository: None)
    with contextlib.closing(transport), pytest.raises(AccessDenied, match="expected a whole URL"):
        transport._authorize(challenge, "app")


def test_short_names_of_docker_hub() -> None:
    """A name without a user is below `library/`."""
    for host in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        with contextlib.closing(Transport(Reference(host, "alpine", "3"), "pull")) as hub:
            assert hub.url("x") == "https://registry-1.docker.io/v2/library/alpine/x"


def test_when_to_try_again() -> None:
    """Seconds or a date; anything else says nothing."""
    assert _retry_after_s("3") == 3.0
    assert _retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert (_retry_after_s("soon"), _retry_after_s("")) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        '{"auths": null}', "null", "", '\ufeff{"auths": {}}', '{"auths": {"r.example": null}}',
        '{"auths": {"r.example": {"auth": null}}, "credHelpers": null, "credsStore": ""}',
    ],
)  # fmt: skip
def test_null_in_a_credentials_file_is_nothing(text: str, tmp_path: Path) -> None:
    """Programs in Go write what is empty as null."""
    path = tmp_path / "auth.json"
    path.write_text(text)
    assert find_credentials("r.example", "app", {"REGISTRY_AUTH_FILE": str(path)}) is None


@pytest.mark.parametrize("header", ["", "application/octet-stream", "application/json; charset=utf-8"])
def test_a_manifest_says_what_it_is(header: str) -> None:
    """Where the header does not say, the document does."""
    assert _media_type(header, b'{"manifests": []}') == INDEX
    assert _media_type(header, b'{"layers": []}') == MANIFEST
    assert _media_type(header, json.dumps({"mediaType": INDEX}).encode()) == INDEX


@pytest.mark.parametrize(
    ("layer", "form"),
    [("application/wasm", Form.ARTIFACT), ("application/vnd.wasm.content.layer.v1+wasm", Form.ARTIFACT), ("x", None)],
)
def test_artifacts_of_other_tools(layer: str, form: Any) -> None:
    """One layer of Wasm makes an artifact, whatever its configuration is."""
    config = describe(b"{}", "application/vnd.wasm.config.v1+json")
    assert form_of(Manifest(schema_version=2, config=config, layers=[describe(b"", layer)])) is form
    assert form_of(Manifest(schema_version=2, config=describe(b"{}", IMAGE_CONFIG), layers=[])) is Form.IMAGE
