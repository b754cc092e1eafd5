"""Finds the component in the layers of a platform image."""

import posixpath
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Sequence
from gzip import BadGzipFile, GzipFile
from io import BufferedRandom, RawIOBase
from typing import IO, NamedTuple, cast

from skylark_oci.documents import (
    IMAGE_LAYER,
    Descriptor,
    Execution,
    ImageConfig,
    Manifest,
    decode,
)
from skylark_oci.errors import InvalidPackage

CONTENT_LIMIT_BYTES = 512 << 20
"""The largest layer, and the largest root filesystem that is looked through: no archive unpacks without an end."""


_LAYER = re.compile(
    r"application/vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip)?"
    r"|application/vnd\.docker\.image\.rootfs\.(?:foreign\.)?diff\.tar(?:\.gzip)?"
)
"""Layers as tar archives, gzipped or not (image specification, "Layer Media Types"; Docker's image manifest)."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_HINT = "pack it anew with gzip, such as with skopeo copy --dest-compress-format gzip"
_LINKS = 8
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
"""Names that hide a file, or all of a folder, in the layers below (image specification, "Whiteouts")."""


def layers_of(manifest: Manifest, config: bytes, where: str) -> tuple[str, list[Descriptor]]:
    """The path of the component in an image's root filesystem, and the layers to look in, the uppermost first.

    Raises:
        InvalidPackage: Its entrypoint is no `.wasm` file, or a layer is neither a tar archive nor a gzipped one.
    """
    execution = decode(config, ImageConfig, f"{where}: configuration").config or Execution()
    command = [*(execution.entrypoint or ()), *(execution.cmd or ())]
    first = command[0].partition("#")[0] if command else ""  # a shim's form PATH#FUNCTION
    if not first.endswith(".wasm"):
        raise InvalidPackage(where, f"an entrypoint that ends in .wasm, not {first!r}")
    for layer in manifest.layers:
        if not _LAYER.fullmatch(layer.media_type):
            hint = f"; {_ZSTD_HINT}" if "zstd" in layer.media_type else ""
            raise InvalidPackage(where, f"layers of {IMAGE_LAYER}, or without +gzip, not {layer.media_type}{hint}")
    return posixpath.normpath(posixpath.join("/", execution.working_dir or "", first)), manifest.layers[::-1]


def unpack(layers: Sequence[Callable[[], IO[bytes]]], path: str, output: BufferedRandom, where: str) -> None:
    """Copy a file of a root filesystem to an empty file.

    Args:
        layers: Give the layers, the uppermost first. A layer may be asked for again.

    Raises:
        InvalidPackage: A layer is damaged or too large, or the layers have no file under that path.
    """
    start, number, followed = path, 0, 0
    while number < len(layers):
        link, hidden = _scanned(layers[number](), path, output, where)
        if link is not None:
            followed += 1
            if followed > _LINKS:
                raise InvalidPackage(where, f"a file {start}, not links to links")
            path, number = link.path, number if link.is_hard else 0
        elif output.tell():
            return
        elif hidden:
            raise InvalidPackage(where, f"a file {path}; a layer removes it")
        else:
            number += 1
    led = "" if path == start else f", where {start} leads"
    raise InvalidPackage(where, f"the entrypoint's file {path} in one of the layers{led}")


class _Link(NamedTuple):
    """Where a link leads. A hard link's file is in the same layer or one below, whatever hides that name above."""

    path: str
    is_hard: bool


def _scanned(compressed: IO[bytes], path: str, output: BufferedRandom, where: str) -> tuple[_Link | None, bool]:
    try:
        return _scan(compressed, path, output, where)
    except (BadGzipFile, tarfile.TarError, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise InvalidPackage(where, f"layers that are tar archives, gzipped or not ({error})") from error


def _scan(compressed: IO[bytes], path: str, output: BufferedRandom, where: str) -> tuple[_Link | None, bool]:
    """Look for a file in a layer, and copy it. Of several, the last one counts, as for whoever extracts the archive.

    Returns:
        Where the path leads, if it or a folder of it is a link, and whether the layer hides it in those below.
    """
    link, hidden = None, False
    with tarfile.open(fileobj=_Bounded(_decompressed(compressed, where), where), mode="r|") as archive:
        for member in archive:
            name = posixpath.normpath(posixpath.join("/", member.name)).replace("//", "/")
            hidden = hidden or _hides(member, name, path)
            if member.issym() and path.startswith(f"{name}/"):
                link = _Link(posixpath.normpath(_target(member, name) + path.removeprefix(name)), False)
            if name == path:
                output.seek(0)
                output.truncate()
                link = _Link(_target(member, name), member.islnk()) if member.issym() or member.islnk() else None
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    shutil.copyfileobj(content, output)
                elif link is None:
                    raise InvalidPackage(where, f"a file {path} in its layer")
    return link, hidden


def _target(member: tarfile.TarInfo, name: str) -> str:
    """Return the path that a hard or symbolic link names."""
    folder = "/" if member.islnk() else posixpath.dirname(name)
    return posixpath.normpath(posixpath.join(folder, member.linkname)).replace("//", "/")


def _hides(member: tarfile.TarInfo, name: str, path: str) -> bool:
    """True if an entry hides a path of the layers below: by a whiteout, or by something else in a folder's place."""
    folder, base = posixpath.split(name)
    if base == _OPAQUE:
        return path.startswith(folder.rstrip("/") + "/")
    if base.startswith(_WHITEOUT):
        gone = posixpath.join(folder, base.removeprefix(_WHITEOUT))
        return path == gone or path.startswith(gone + "/")
    return path.startswith(name.rstrip("/") + "/") and not member.isdir()


def _decompressed(compressed: IO[bytes], where: str) -> IO[bytes]:
    """Open a layer by how it begins: its media type does not always say how it is compressed."""
    compressed.seek(0)
    magic = compressed.read(len(_ZSTD_MAGIC))
    compressed.seek(0)
    if magic == _ZSTD_MAGIC:
        raise InvalidPackage(where, f"layers that are tar archives, gzipped or not, not zstd; {_ZSTD_HINT}")
    return cast(IO[bytes], GzipFile(fileobj=compressed)) if magic.startswith(_GZIP_MAGIC) else compressed


class _Bounded(RawIOBase):
    """A stream that ends in an error instead of going on beyond the limit."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
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
