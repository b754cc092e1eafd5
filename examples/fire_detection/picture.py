"""The caller's side of the fire detection chain: pictures in and out, with Pillow. It runs on the host.

A picture becomes a PNG whose rows all have the filter Up, which plain Python undoes for a whole row at once: the
function takes a quarter of the time it needs for the filters that Pillow chooses, and the PNG is a few percent larger.
"""

import struct
import warnings
import zlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

UPLOAD_SIDE_MAX_PX = 1280
"""No side of the PNG is longer; the functions look at 320 pixels of it, so more would be carried for nothing."""

ALARM_COLOUR, SPOT_COLOUR = "#ff2d2d", "#ffd60a"
LABEL_COLOUR = "#101010"

Rectangle = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""


def encode_png(path: Path) -> bytes:
    """Turn any picture that Pillow reads into the PNG that starts the chain.

    Args:
        path: The picture. It is turned upright as its EXIF orientation says, made RGB, without transparency, and
            scaled down to UPLOAD_SIDE_MAX_PX.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no picture, is damaged, or is so large that it may be a decompression bomb.
    """
    return to_png(open_upright(path, UPLOAD_SIDE_MAX_PX))


def annotate(path: Path, event: Mapping[str, Any], out_path: Path) -> None:
    """Draw the spots of an event on the picture it was made from.

    Args:
        path: The picture that was given to `encode_png`.
        event: The CloudEvent of alarm.py, parsed. Spots that raised the alarm are red, others yellow.
        out_path: Where to write; its suffix chooses the format.

    Raises:
        FileNotFoundError: There is no such picture.
        ValueError: The picture cannot be read, or the event is not of this chain.
    """
    picture = open_upright(path, None)
    try:
        draw_spots(picture, event["data"])
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"event: not an event of the fire detection chain: {error!r}") from error
    picture.save(out_path)


def check_ending(path: Path) -> None:
    """Check that the ending of an output names a format that Pillow writes.

    Raises:
        ValueError: It does not.
    """
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"no format of pictures has the ending {path.suffix!r}")


def sample_photograph(name: str = "rocket.jpg") -> Path:
    """The path of a photograph that scikit-image ships, found without importing it.

    Raises:
        FileNotFoundError: scikit-image is not installed, or has no such photograph.
    """
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the sample photographs are part of scikit-image: pip install 'skylark[demo]'")
    path = Path(spec.submodule_search_locations[0], "data", name)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: scikit-image ships no such photograph: pip install 'skylark[demo]'")
    return path


def open_upright(path: Path, side_max_px: int | None) -> Image.Image:
    """Read a picture as upright RGB, scaled down to a longest side if one is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as picture:
                if side_max_px is not None:
                    picture.thumbnail((side_max_px, side_max_px), Image.Resampling.BOX)
                return to_rgb(ImageOps.exif_transpose(picture))
        except UnidentifiedImageError as error:
            raise ValueError(f"{path}: not a picture that Pillow can read") from error
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"{path}: too large to be decoded safely: {error}") from error
        except FileNotFoundError:
            raise
        except (OSError, SyntaxError, EOFError) as error:
            raise ValueError(f"{path}: a damaged picture: {error}") from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any mode as RGB; of 16 bits the upper 8 are kept, transparency is dropped."""
    if picture.mode.startswith("I"):
        return picture.convert("I").point(lambda sample: sample * (1 / 256)).convert("L").convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def to_png(picture: Image.Image) -> bytes:
    """Encode an RGB picture with the filter Up in all rows (PNG specification, section 9.2)."""
    above = Image.new("RGB", picture.size)
    above.paste(picture, (0, 1))
    filtered = ImageChops.subtract_modulo(picture, above).tobytes()
    row_bytes = 3 * picture.width
    rows = b"".join(b"\x02" + filtered[start : start + row_bytes] for start in range(0, len(filtered), row_bytes))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(to_chunk(kind, data) for kind, data in chunks)


def to_chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk with its size and CRC (PNG specification, section 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def draw_spots(picture: Image.Image, data: Mapping[str, Any]) -> None:
    """Draw all boxes, then all scores, so that no box crosses out a score."""
    draw = ImageDraw.Draw(picture)
    line_px = max(2, round(max(picture.size) / 400))
    font = ImageFont.load_default(size=max(12, max(picture.size) / 50))
    scale = picture.width / data["image"]["width"]
    spots = [(to_outline(spot, scale, line_px), spot["score"]) for spot in reversed(data["spots"])]
    for outline, score in spots:
        draw.rectangle(outline, outline=colour_of(score, data), width=line_px)
    for outline, score in spots:
        label = f"{score:.2f}"
        plate = to_plate(outline, draw.textbbox((0, 0), label, font=font, anchor="lt"), picture.size, line_px)
        draw.rectangle(plate, fill=colour_of(score, data))
        draw.text((plate[0] + line_px, plate[1] + line_px), label, font=font, anchor="lt", fill=LABEL_COLOUR)


def colour_of(score: float, data: Mapping[str, Any]) -> str:
    """The colour of a spot: did it raise the alarm?"""
    return ALARM_COLOUR if score >= data["score_min"] else SPOT_COLOUR


def to_outline(spot: Mapping[str, Any], scale: float, line_px: int) -> Rectangle:
    """The rectangle to draw so that the line runs outside the spot."""
    left, top = spot["x"] * scale, spot["y"] * scale
    right, bottom = left + spot["width"] * scale, top + spot["height"] * scale
    return left - line_px, top - line_px, right + line_px, bottom + line_px


def to_plate(outline: Rectangle, text: Rectangle, size: tuple[int, int], line_px: int) -> Rectangle:
    """The rectangle behind a score: above the box, below it where there is no room, always within the picture."""
    left, top, _, bottom = outline
    width, height = text[2] + 2 * line_px, text[3] + 2 * line_px
    left = min(max(0, left), size[0] - width)
    top = top - height if top >= height else min(bottom, size[1] - height)
    return left, top, left + width, top + height
