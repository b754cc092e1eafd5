"""Decode a PNG and scale it down to a small raster: the first function of the fire detection chain.

Everything is plain Python, as the sandbox has no imaging library. What is slow in plain Python works on a whole row
at once: a row is one big integer whose bytes are added in parallel, or a few slices that are zipped.

References such as "PNG 9.2" are sections of the PNG specification, third edition, https://www.w3.org/TR/png-3/.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice

import skylark

LONGER_SIDE_PX = 320
"""No side of the raster is longer. Measured: at 160 small lamps score a fifth less; at 640 the chain takes three times
as long and finds textures of single pixels."""
MAX_SIDE_PX = 16_384
MAX_RAW_BYTES = 48 * 1024 * 1024
"""Limit of the decompressed picture: 16 million pixels of RGB8."""

RASTER = struct.Struct("<4sB3x5I")
"""Header: magic, version, raster width and height, factor, width and height of the picture. RGB8 rows follow."""
RASTER_MAGIC = b"SKYR"
RASTER_VERSION = 1

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
BIT_DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
NONE, SUB, UP, AVERAGE, PAETH = range(5)

Planes = tuple[bytes, bytes, bytes]
"""The red, green and blue samples of one row, 8 bits each."""


@dataclass(frozen=True)
class Header:
    """What the IHDR chunk says (PNG 11.2.1)."""

    width: int
    height: int
    bit_depth: int
    colour_type: int

    @property
    def pixel_bytes(self) -> int:
        """Distance of the filters' left neighbour: a whole pixel, at least one byte (PNG 9.2)."""
        return max(1, SAMPLES[self.colour_type] * self.bit_depth // 8)

    @property
    def row_bytes(self) -> int:
        """Size of a row without its filter byte."""
        return (self.width * SAMPLES[self.colour_type] * self.bit_depth + 7) // 8

    @property
    def raw_bytes(self) -> int:
        """Size of the decompressed picture: each row with its filter byte."""
        return self.height * (1 + self.row_bytes)


@dataclass(frozen=True)
class Png:
    """A PNG file in its parts, still compressed."""

    header: Header
    palette: bytes
    compressed: bytes


@skylark.function
def preprocess(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """Turn the PNG in the request's body into a raster of at most LONGER_SIDE_PX.

    Args:
        bundle: not used; this function starts a chain.
        ctx: its `request.body` is the PNG: any colour type and bit depth, not interlaced. Transparency is ignored.

    Returns:
        The field `preprocess`: the header RASTER, then RGB8 rows. One cell is the mean of factor × factor pixels.

    Raises:
        ValueError: the body is no PNG, is damaged, or is larger than the limits of this module.
    """
    png = parse_png(bytes(ctx.request.body))
    header = png.header
    factor = -(-max(header.width, header.height) // LONGER_SIDE_PX)
    rows = (split_row(header, png.palette, row) for row in unfiltered_rows(header, decompress(png)))
    cells = b"".join(shrink(group, factor) for group in groups(rows, factor))
    width, height = -(-header.width // factor), -(-header.height // factor)
    raster = RASTER.pack(RASTER_MAGIC, RASTER_VERSION, width, height, factor, header.width, header.height)
    return {"preprocess": raster + cells}


def parse_png(body: bytes) -> Png:
    """Take a PNG file apart; chunks that are not needed for the pixels are checked and passed over."""
    palette = b""
    header: Header | None = None
    compressed: list[bytes] = []
    for kind, data in read_chunks(body):
        if header is None:
            if kind != b"IHDR":
                raise ValueError(f"body: not a PNG: the first chunk is {kind!r}, expected IHDR")
            header = parse_header(data)
        elif kind == b"PLTE":
            palette = data
        elif kind == b"IDAT":
            compressed.append(data)
        elif kind == b"IHDR" or (kind != b"IEND" and kind[:1].isupper()):
            raise ValueError(f"body: unexpected critical PNG chunk {kind!r}")
    if header is None or not compressed:
        raise ValueError("body: a PNG without pixels: no IDAT chunk")
    if header.colour_type == PALETTE and (not palette or len(palette) % 3 or len(palette) > 768):
        raise ValueError(f"body: PNG palette of {len(palette)} bytes, expected 1 to 256 entries of 3 bytes")
    return Png(header, palette, b"".join(compressed))


def read_chunks(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and data of each chunk up to IEND, its CRC checked (PNG 5.3)."""
    if not body.startswith(PNG_SIGNATURE):
        raise ValueError(f"body: not a PNG: it starts with {body[:8]!r}, expected {PNG_SIGNATURE!r}")
    start = len(PNG_SIGNATURE)
    while start + 12 <= len(body):
        size_bytes, kind = struct.unpack_from(">I4s", body, start)
        end = start + 8 + size_bytes
        if end + 4 > len(body):
            break
        if zlib.crc32(body[start + 4 : end]) != int.from_bytes(body[end : end + 4], "big"):
            raise ValueError(f"body: corrupt PNG: wrong CRC in chunk {kind!r} at byte {start}")
        yield kind, body[start + 8 : end]
        if kind == b"IEND":
            return
        start = end + 4
    raise ValueError(f"body: truncated PNG: it ends after {len(body)} bytes, before IEND")


def parse_header(data: bytes) -> Header:
    """Read the IHDR chunk, and refuse what this decoder cannot or should not decode."""
    if len(data) != 13:
        raise ValueError(f"body: corrupt PNG: IHDR of {len(data)} bytes, expected 13")
    width, height, bit_depth, colour_type, compression, filtering, interlace = struct.unpack(">IIBBBBB", data)
    if bit_depth not in BIT_DEPTHS.get(colour_type, ()):
        raise ValueError(f"body: PNG of colour type {colour_type} with bit depth {bit_depth}, which no PNG may have")
    if compression or filtering or interlace > 1:
        raise ValueError(f"body: PNG with unknown methods {compression}, {filtering}, {interlace} in IHDR, expected 0")
    if interlace:
        raise ValueError("body: interlaced PNG (Adam7), expected one without interlace")
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise ValueError(f"body: PNG of {width}x{height} pixels, expected sides of 1 to {MAX_SIDE_PX}")
    header = Header(width, height, bit_depth, colour_type)
    if header.raw_bytes > MAX_RAW_BYTES:
        raise ValueError(f"body: PNG of {header.raw_bytes} bytes decompressed, expected at most {MAX_RAW_BYTES}")
    return header


def decompress(png: Png) -> bytes:
    """Inflate the pixels, never to more than the header announces: a bomb costs no memory."""
    expected_bytes = png.header.raw_bytes
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(png.compressed, expected_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"body: corrupt PNG: IDAT does not decompress: {error}") from error
    if len(raw) > expected_bytes:
        raise ValueError(f"body: corrupt PNG: IDAT holds more than the {expected_bytes} bytes that IHDR announces")
    if len(raw) < expected_bytes:
        raise ValueError(f"body: truncated PNG: IDAT holds {len(raw)} bytes, expected {expected_bytes}")
    return raw


def unfiltered_rows(header: Header, raw: bytes) -> Iterator[bytes]:
    """Yield each row with its filter undone (PNG 9.2)."""
    row_bytes, pixel_bytes = header.row_bytes, header.pixel_bytes
    parallel = ParallelBytes(row_bytes)
    prior = bytes(row_bytes)
    for y in range(header.height):
        start = y * (1 + row_bytes)
        kind, row = raw[start], raw[start + 1 : start + 1 + row_bytes]
        if kind == SUB:
            row = parallel.running_sum(row, pixel_bytes)
        elif kind == UP:
            row = parallel.sum(row, prior)
        elif kind in (AVERAGE, PAETH):
            row = undo_by_lane(row, prior, pixel_bytes, average if kind == AVERAGE else paeth)
        elif kind != NONE:
            raise ValueError(f"body: corrupt PNG: row {y} has filter {kind}, expected 0 to 4")
        yield row
        prior = row


class ParallelBytes:
    """Adds the bytes of two rows modulo 256, all at once.

    A row is one integer. The low 7 bits of its bytes are added without carries from one byte into the next, and the
    top bits by exclusive or (H. S. Warren, Hacker's Delight, 2nd ed., section 2-18).
    """

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._low = int.from_bytes(b"\x7f" * row_bytes, "little")
        self._high = int.from_bytes(b"\x80" * row_bytes, "little")
        self._all = self._low | self._high

    def sum(self, row: bytes, prior: bytes) -> bytes:
        """Undo the filter Up: each byte plus the byte above it."""
        total = self._add(int.from_bytes(row, "little"), int.from_bytes(prior, "little"))
        return total.to_bytes(self._row_bytes, "little")

    def running_sum(self, row: bytes, pixel_bytes: int) -> bytes:
        """Undo the filter Sub: each byte plus all to its left in its lane, by doubling the reach of the sum."""
        total = int.from_bytes(row, "little")
        reach = pixel_bytes
        while reach < self._row_bytes:
            total = self._add(total, (total << 8 * reach) & self._all)
            reach *= 2
        return total.to_bytes(self._row_bytes, "little")

    def _add(self, a: int, b: int) -> int:
        return ((a & self._low) + (b & self._low)) ^ ((a ^ b) & self._high)


def undo_by_lane(row: bytes, prior: bytes, pixel_bytes: int, undo: Callable[[bytes, bytes], Iterator[int]]) -> bytes:
    """Undo a filter that has to go from left to right, one lane (byte of the pixel) after the other."""
    undone = bytearray(len(row))
    for lane in range(pixel_bytes):
        undone[lane::pixel_bytes] = bytes(undo(row[lane::pixel_bytes], prior[lane::pixel_bytes]))
    return bytes(undone)


def average(lane: bytes, prior: bytes) -> Iterator[int]:
    """Yield a lane with the filter Average undone: each byte plus the mean of the bytes to its left and above."""
    left = 0
    for byte, above in zip(lane, prior, strict=True):
        left = (byte + (left + above) // 2) & 0xFF
        yield left


def paeth(lane: bytes, prior: bytes) -> Iterator[int]:
    """Yield a lane with the filter Paeth undone: each byte plus the neighbour nearest to left + above - corner."""
    left = corner = 0
    for byte, above in zip(lane, prior, strict=True):
        from_left, from_above = abs(above - corner), abs(left - corner)
        if from_left <= from_above:
            predicted = left if from_left <= abs(left + above - 2 * corner) else corner
        else:
            predicted = above if from_above <= abs(left + above - 2 * corner) else corner
        left = (byte + predicted) & 0xFF
        corner = above
        yield left


def split_row(header: Header, palette: bytes, row: bytes) -> Planes:
    """Split an unfiltered row into planes of 8 bits; of 16 bits the upper 8 are kept, alpha is dropped."""
    if header.bit_depth < 8:
        row = unpacked(row, header.bit_depth)[: header.width]
    if header.colour_type == PALETTE:
        return looked_up(palette, row)
    step = header.pixel_bytes
    if header.colour_type in (RGB, RGBA):
        sample_bytes = header.bit_depth // 8
        return row[::step], row[sample_bytes::step], row[2 * sample_bytes :: step]
    grey = row[::step]
    if header.bit_depth < 8:
        grey = grey.translate(to_8_bits(header.bit_depth))
    return grey, grey, grey


def unpacked(row: bytes, bit_depth: int) -> bytes:
    """One byte for each sample of 1, 2 or 4 bits, the leftmost in the high bits (PNG 7.2)."""
    return bytes(chain.from_iterable(zip(*map(row.translate, sample_tables(bit_depth)), strict=True)))


@cache
def sample_tables(bit_depth: int) -> list[bytes]:
    """For each sample in a byte, from the left, the table that takes it out of the byte."""
    shifts = range(8 - bit_depth, -1, -bit_depth)
    return [bytes(byte >> shift & (2**bit_depth - 1) for byte in range(256)) for shift in shifts]


@cache
def to_8_bits(bit_depth: int) -> bytes:
    """The table that scales a grey sample of 1, 2 or 4 bits to 0..255."""
    white = 2**bit_depth - 1
    return bytes(255 * min(sample, white) // white for sample in range(256))


def looked_up(palette: bytes, row: bytes) -> Planes:
    """The colours of a row of palette indices."""
    if row.translate(None, bytes(range(len(palette) // 3))):
        raise ValueError(f"body: corrupt PNG: index {max(row)} in a palette of {len(palette) // 3} entries")
    padded = palette.ljust(768, b"\0")
    return row.translate(padded[0::3]), row.translate(padded[1::3]), row.translate(padded[2::3])


def groups(rows: Iterator[Planes], size: int) -> Iterator[tuple[Planes, ...]]:
    """Yield `size` rows at a time; the last group may be shorter."""
    while group := tuple(islice(rows, size)):
        yield group


def shrink(rows: tuple[Planes, ...], factor: int) -> bytes:
    """One row of the raster: the mean of each block of `factor` columns in up to `factor` rows.

    At the right edge the last column is repeated until the block is full.
    """
    width = -(-len(rows[0][0]) // factor)
    area = factor * len(rows)
    cells = bytearray(3 * width)
    for channel in range(3):
        planes = [row[channel].ljust(width * factor, row[channel][-1:]) for row in rows]
        columns = [plane[offset::factor] for plane in planes for offset in range(factor)]
        cells[channel::3] = bytes([(total + area // 2) // area for total in map(sum, zip(*columns, strict=True))])
    return bytes(cells)
