"""Finds the component in the layers of a platform image."""

import posixpath
import shutil
import tarfile
import zlib
from gzip import BadGzipFile, GzipFile
from io import BufferedRandom, RawIOBase
from typing import IO

from skylark_oci.documents import (
    DOCKER_LAYER,
    IMAGE_LAYER,
    Descriptor,
    ImageConfig,
    Manifest,
    decode,
)
from skylark_oci.errors import InvalidPackage

CONTENT_LIMIT_BYTES = 512 << 20
"""The largest layer, and the largest root filesystem that is looked through: no archive unpacks without an end."""


def layers_of(manifest: Manifest, config: bytes, where: str) -> tuple[str, list[Descriptor]]:
    """The path of the component in an image's root filesystem, and the layers to look in, the uppermost first.

    Raises:
        InvalidPackage: Its entrypoint is no `.wasm` file, or a layer is compressed in another way than with gzip.
    """
    execution = decode(config, ImageConfig, f"{where}: configuration").config
    command = [*(execution.entrypoint or ()), *(execution.cmd or ())]
    first = command[0].partition("#")[0] if command else ""  # a shim's form PATH#FUNCTION
    if not first.endswith(".wasm"):
        raise InvalidPackage(where, f"an entrypoint that ends in .wasm, not {first!r}")
    for layer in manifest.layers:
        if layer.media_type not in (IMAGE_LAYER, DOCKER_LAYER):
            raise InvalidPackage(where, f"layers of {IMAGE_LAYER}, not {layer.media_type}")
    return posixpath.normpath(posixpath.join("/", execution.working_dir, first)), manifest.layers[::-1]


def unpack(compressed: IO[bytes], path: str, output: BufferedRandom, where: str) -> bool:
    """Copies a file of a layer to an empty file.

    Returns:
        Whether the layer has it.

    Raises:
        InvalidPackage: The layer is damaged, too large, or has something else than a file under that path.
    """
    try:
        with GzipFile(fileobj=compressed) as raw, tarfile.open(fileobj=_Bounded(raw, where), mode="r|") as archive:
            for member in archive:
                if posixpath.normpath(posixpath.join("/", member.name)) == path:
                    content = archive.extractfile(member) if member.isfile() else None
                    if content is None:
                        raise InvalidPackage(where, f"a file {path} in its layer")
                    shutil.copyfileobj(content, output)
                    return True
    except (BadGzipFile, tarfile.TarError, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise InvalidPackage(where, f"layers that are gzipped tar archives ({error})") from error
    return False


class _Bounded(RawIOBase):
    """A stream that ends in an error instead of going on beyond the limit."""

    def __init__(self, stream: GzipFile, where: str) -> None:
        super().__init__()
        self._stream = stream
        self._where = where
        self._left = CONTENT_LIMIT_BYTES

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise InvalidPackage(self._where, f"layers that unpack to at most {CONTENT_LIMIT_BYTES} bytes")
        return chunk
