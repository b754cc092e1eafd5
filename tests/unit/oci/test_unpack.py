"""The component is found in the layers of an image, and what is no such image is refused."""

import contextlib
import gzip
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_oci import unpack as unpacking
from skylark_oci.documents import IMAGE_LAYER, MANIFEST, Manifest, describe
from skylark_oci.errors import InvalidPackage
from skylark_oci.unpack import layers_of, unpack


def layer(files: Mapping[str, bytes]) -> bytes:
    """A gzipped layer; a file without content is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.type = tarfile.REGTYPE if content else tarfile.DIRTYPE
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def manifest(*types: str) -> Manifest:
    layers = [describe(str(number).encode(), kind) for number, kind in enumerate(types)]
    return Manifest(schema_version=2, config=describe(b"{}", MANIFEST), layers=layers)


def config(**execution: Any) -> bytes:
    document = {"architecture": "wasm", "os": "wasi", "rootfs": {"type": "layers", "diff_ids": []}}
    return json.dumps(document | {"config": execution}).encode()


def unpacked(content: bytes, path: str = "/app.wasm") -> bytes:
    with tempfile.TemporaryFile() as output:
        unpack([lambda: io.BytesIO(content)], path, output, "image")
        output.seek(0)
        return output.read()


@pytest.mark.parametrize(
    ("execution", "path"),
    [
        ({"Entrypoint": ["/app.wasm"]}, "/app.wasm"),
        ({"Entrypoint": ["app.wasm"]}, "/app.wasm"),
        ({"Entrypoint": ["app.wasm"], "WorkingDir": "/srv"}, "/srv/app.wasm"),
        ({"Entrypoint": None, "Cmd": ["/app.wasm", "--flag"]}, "/app.wasm"),
        ({"Entrypoint": ["/app.wasm"], "User": None, "StopSignal": None}, "/app.wasm"),
        ({"Entrypoint": ["/app.wasm#run"], "Cmd": None}, "/app.wasm"),
        ({"Entrypoint": ["/a/../app.wasm"]}, "/app.wasm"),
    ],
)
def test_where_the_component_is(execution: dict[str, Any], path: str) -> None:
    """The entrypoint names it, else the command; a relative one is in the working folder. Layers from the last."""
    image = manifest(IMAGE_LAYER, "application/vnd.docker.image.rootfs.diff.tar.gzip")
    assert layers_of(image, config(**execution), "image") == (path, image.layers[::-1])


@pytest.mark.parametrize(
    ("execution", "types", "expected"),
    [
        ({}, [IMAGE_LAYER], "an entrypoint that ends in .wasm, not ''"),
        ({"Entrypoint": ["/bin/sh"]}, [IMAGE_LAYER], "an entrypoint that ends in .wasm, not '/bin/sh'"),
        (
            {"Entrypoint": ["/a.wasm"]},
            [IMAGE_LAYER.replace("gzip", "zstd")],
            "not application/vnd.oci.image.layer.v1.tar",
        ),
        ({"Entrypoint": "/a.wasm"}, [IMAGE_LAYER], "ImageConfig"),
    ],
)
def test_what_is_no_such_image_is_named(execution: dict[str, Any], types: list[str], expected: str) -> None:
    """A Linux image, or a layer in a compression that is not known, is refused before a layer is pulled."""
    with pytest.raises(InvalidPackage) as raised:
        layers_of(manifest(*types), config(**execution), "image")
    assert expected in raised.value.message


@pytest.mark.parametrize("name", ["app.wasm", "./app.wasm", "/app.wasm"])
def test_a_file_is_found_by_its_path(name: str) -> None:
    """However the archive writes the path."""
    assert unpacked(layer({"etc/": b"", "etc/app.wasm": b"other", name: b"component"})) == b"component"


def test_another_layer_has_it() -> None:
    """A layer without it is no error: the next one is looked in; without any that has it, there is one."""
    layers = [layer({"etc/app.wasm": b"x"}), layer({"app.wasm": b"y"}), layer({"app.wasm": b"z"})]
    with tempfile.TemporaryFile() as output:
        unpack([partial(io.BytesIO, one) for one in layers], "/app.wasm", output, "image")
        output.seek(0)
        assert output.read() == b"y"
    with pytest.raises(InvalidPackage, match=r"file /app\.wasm in one of the layers"):
        unpacked(layers[0])


def test_a_folder_of_that_name_is_refused() -> None:
    """What is no file cannot be run."""
    with pytest.raises(InvalidPackage, match=r"a file /app\.wasm"):
        unpacked(layer({"app.wasm": b""}))


def test_no_layer_unpacks_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small archive that becomes a huge one is left off at the limit."""
    monkeypatch.setattr(unpacking, "CONTENT_LIMIT_BYTES", 1 << 20)
    bomb = layer({"zeros": bytes(4 << 20), "app.wasm": b"x"})
    assert len(bomb) < 10_000
    with pytest.raises(InvalidPackage, match="unpack to at most"):
        unpacked(bomb)


@given(st.data())
def test_a_damaged_layer_is_unpacked_or_refused(data: st.DataObject) -> None:
    """Cut or changed anywhere, also within the archive, it makes no other error than ours."""
    content = bytearray(gzip.decompress(layer({"a": b"1" * 600, "app.wasm": b"component" * 100})))
    compress = data.draw(st.booleans())
    if not compress:
        content = bytearray(layer({"a": b"1" * 600, "app.wasm": b"component" * 100}))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)):
        content[position] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    with contextlib.suppress(InvalidPackage):
        unpacked(gzip.compress(content) if compress else bytes(content))
