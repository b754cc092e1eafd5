import io
import struct
import tracemalloc
import zlib
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

EXAMPLE = Path(__file__).parents[4] / "examples" / "fire_detection"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
KINDS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((colour_type, depth) for colour_type in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)),
]


def load(name: str) -> ModuleType:
    """Load a file of the example, without a trace in the SDK's registry."""
    spec = spec_from_file_location(f"fire_detection_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with patch.dict("skylark.functions.REGISTRY", clear=True):
        spec.loader.exec_module(module)
    return module


preprocess = load("preprocess")


def decode(body: bytes) -> tuple[tuple[int, ...], bytes]:
    """Run the function; give the width, height, factor, picture width and height, and the cells."""
    ctx = SimpleNamespace(request=SimpleNamespace(body=memoryview(body)))
    raster: bytes = preprocess.preprocess({}, ctx)["preprocess"]
    magic, version, *numbers = struct.unpack_from("<4sB3x5I", raster)
    assert (magic, version) == (b"SKYR", 1)
    return tuple(numbers), raster[28:]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, bit_depth: int = 8, colour_type: int = RGB, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, interlace))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def filtered(rows: list[bytes], filters: list[int], pixel_bytes: int) -> bytes:
    """Apply the PNG filters, written from the specification byte by byte."""
    raw = bytearray()
    prior = bytes(len(rows[0]))
    for row, kind in zip(rows, filters, strict=True):
        raw.append(kind)
        for i, byte in enumerate(row):
            left = row[i - pixel_bytes] if i >= pixel_bytes else 0
            above = prior[i]
            corner = prior[i - pixel_bytes] if i >= pixel_bytes else 0
            estimate = left + above - corner
            nearest = min((left, above, corner), key=lambda neighbour: abs(estimate - neighbour))
            raw.append((byte - (0, left, above, (left + above) // 2, nearest)[kind]) % 256)
        prior = row
    return bytes(raw)


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    """Small pictures of random samples, of any colour type and bit depth, each row with a filter of its own."""
    colour_type, bit_depth = draw(st.sampled_from(KINDS))
    width, height = draw(st.integers(1, 19)), draw(st.integers(1, 6))
    row_bytes = (width * SAMPLES[colour_type] * bit_depth + 7) // 8
    rows = draw(st.lists(st.binary(min_size=row_bytes, max_size=row_bytes), min_size=height, max_size=height))
    filters = draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    raw = filtered(rows, filters, max(1, SAMPLES[colour_type] * bit_depth // 8))
    compressed = zlib.compress(raw)
    cut = draw(st.integers(0, len(compressed)))
    entries = 3 * 2**bit_depth if colour_type == PALETTE else 0
    palette = [chunk(b"PLTE", draw(st.binary(min_size=entries, max_size=entries)))] if entries else []
    idat = [chunk(b"tIME", bytes(7)), chunk(b"IDAT", compressed[:cut]), chunk(b"IDAT", compressed[cut:])]
    return png(header(width, height, bit_depth, colour_type), *palette, *idat)


def pillow_rgb(body: bytes) -> Image.Image:
    picture: Image.Image = Image.open(io.BytesIO(body))
    if picture.mode.startswith("I"):
        upper = bytes(sample >> 8 for sample in struct.unpack(f"={picture.width * picture.height}H", picture.tobytes()))
        picture = Image.frombytes("L", picture.size, upper)
    return picture.convert("RGBA").convert("RGB")


def saved(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((width, height), 90) for _ in range(3)])


SMALL = saved(noise(16, 9))


@given(body=pngs())
def test_any_png_decodes_as_pillow_decodes_it(body: bytes) -> None:
    """All colour types, bit depths and filters give the pixels that Pillow gives."""
    expected = pillow_rgb(body)
    (width, height, factor, *size), cells = decode(body)
    assert (width, height, factor, tuple(size)) == (*expected.size, 1, expected.size)
    assert cells == expected.tobytes()


@pytest.mark.parametrize(("colour_type", "bit_depth"), KINDS)
@pytest.mark.parametrize("kind", range(5))
def test_each_filter_of_each_kind_decodes_as_pillow_decodes_it(colour_type: int, bit_depth: int, kind: int) -> None:
    """No combination of colour type, bit depth and filter is left to chance."""
    row_bytes = (13 * SAMPLES[colour_type] * bit_depth + 7) // 8
    rows = [bytes((x * 89 + y * 57 + x * y * 31) % 256 for x in range(row_bytes)) for y in range(5)]
    raw = filtered(rows, [kind] * 5, max(1, SAMPLES[colour_type] * bit_depth // 8))
    palette = [chunk(b"PLTE", bytes(i * 7 % 256 for i in range(3 * 2**bit_depth)))] if colour_type == PALETTE else []
    body = png(header(13, 5, bit_depth, colour_type), *palette, chunk(b"IDAT", zlib.compress(raw)))
    assert decode(body)[1] == pillow_rgb(body).tobytes()


@pytest.mark.parametrize(("size", "factor"), [((640, 20), 2), ((963, 20), 4), ((20, 960), 3)])
def test_cells_are_means_of_blocks(size: tuple[int, int], factor: int) -> None:
    """A cell is the mean of factor x factor pixels, rounded; a block that the edge cuts repeats its last column."""
    picture = noise(*size)
    pixels = picture.tobytes()
    (width, height, found, *original), cells = decode(saved(picture))
    assert (found, tuple(original)) == (factor, size)
    assert (width, height) == (-(-size[0] // factor), -(-size[1] // factor))

    def mean(column: int, row: int, channel: int) -> int:
        columns = [min(size[0] - 1, column * factor + offset) for offset in range(factor)]
        rows = range(row * factor, min(size[1], (row + 1) * factor))
        block = [pixels[3 * (y * size[0] + x) + channel] for x, y in product(columns, rows)]
        return int(sum(block) / len(block) + 0.5)

    assert list(cells) == [mean(x, y, channel) for y, x, channel in product(range(height), range(width), range(3))]


@given(width=st.integers(300, 700), height=st.integers(1, 9), colour=st.binary(min_size=3, max_size=3))
def test_a_picture_of_one_colour_keeps_it_up_to_the_edges(width: int, height: int, colour: bytes) -> None:
    """Blocks that the edge cuts off are no darker than others, and the longer side is 320 at most."""
    red, green, blue = colour
    (columns, rows, factor, *_), cells = decode(saved(Image.new("RGB", (width, height), (red, green, blue))))
    assert max(columns, rows) <= 320 < factor * 321
    assert cells == colour * (columns * rows)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "not a PNG"),
        (b"\xff\xd8\xff\xe0 a JPEG", "not a PNG"),
        (SMALL[:8], "truncated PNG: it ends after 8 bytes"),
        (SMALL[:-12], "before IEND"),
        (SMALL[:60] + bytes([SMALL[60] ^ 1]) + SMALL[61:], "wrong CRC in chunk b'IDAT'"),
        (png(), "first chunk is b'IEND'"),
        (png(header(1, 1)), "no IDAT"),
        (png(header(1, 1), header(1, 1)), "unexpected critical PNG chunk b'IHDR'"),
        (png(header(1, 1), chunk(b"ABCD", b"")), "unexpected critical PNG chunk b'ABCD'"),
        (png(chunk(b"IHDR", bytes(12))), "IHDR of 12 bytes"),
        (png(header(1, 1, bit_depth=4)), "colour type 2 with bit depth 4"),
        (png(header(1, 1, colour_type=5)), "colour type 5"),
        (png(header(1, 1, interlace=1)), "interlaced"),
        (png(header(1, 1, interlace=2)), "unknown methods"),
        (png(header(0, 1)), "0x1 pixels"),
        (png(header(1, 2**31 - 1)), "expected sides of 1 to 16384"),
        (png(header(16_000, 16_000)), "decompressed, expected at most"),
        (png(header(1, 1, colour_type=PALETTE), chunk(b"IDAT", zlib.compress(bytes(2)))), "palette of 0 bytes"),
        (
            png(header(1, 1, colour_type=PALETTE), chunk(b"PLTE", bytes(6)), chunk(b"IDAT", zlib.compress(b"\0\2"))),
            "index 2 in a palette of 2 entries",
        ),
        (png(header(1, 1), chunk(b"IDAT", b"garbage")), "IDAT does not decompress"),
        (png(header(1, 1), chunk(b"IDAT", zlib.compress(bytes(3)))), "IDAT holds 3 bytes, expected 4"),
        (png(header(1, 1), chunk(b"IDAT", zlib.compress(bytes(5)))), "more than the 4 bytes"),
        (png(header(1, 1), chunk(b"IDAT", zlib.compress(b"\5\0\0\0"))), "row 0 has filter 5"),
    ],
)
def test_what_is_no_sound_png_is_refused(body: bytes, cause: str) -> None:
    """The error names the field, body, and the cause."""
    with pytest.raises(ValueError, match=f"^body: .*{cause}"):
        decode(body)


def test_a_bomb_is_not_inflated() -> None:
    """Of 200 MB in one IDAT no more is inflated than the header announces."""
    inflater = zlib.compressobj(9)
    compressed = b"".join(inflater.compress(bytes(1_000_000)) for _ in range(200)) + inflater.flush()
    body = png(header(100, 100), chunk(b"IDAT", compressed))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="IDAT holds more than the 30100 bytes"):
            decode(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * len(body) + 1_000_000


@given(data=st.data())
def test_a_cut_or_changed_png_is_refused(data: st.DataObject) -> None:
    """Wherever a PNG is cut or a byte of it is changed, a ValueError names the field."""
    at = data.draw(st.integers(0, len(SMALL) - 1))
    changed = SMALL[:at] + bytes([SMALL[at] ^ data.draw(st.integers(1, 255))]) + SMALL[at + 1 :]
    for body in (SMALL[:at], changed):
        with pytest.raises(ValueError, match=r"^body: "):
            decode(body)
