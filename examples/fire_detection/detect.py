"""Find hot spots in a raster: the second function of the fire detection chain.

A cell is a candidate where two published rules for the colour of flames agree:

1. T. Çelik and H. Demirel, "Fire detection in video sequences using a generic color model", Fire Safety Journal 44(2),
   2009, pp. 147-158, doi:10.1016/j.firesaf.2008.05.005. In YCbCr, with means over the whole picture: Y > Cb, Cr > Cb,
   Y > mean Y, Cb < mean Cb, Cr > mean Cr, |Cb - Cr| >= tau with tau = 40. Their last rule, polynomials that bound the
   flames in the plane of Cb and Cr, is left out.
2. T.-H. Chen, P.-H. Wu and Y.-C. Chiou, "An early fire-detection method based on image processing", Proc. IEEE ICIP
   2004, pp. 1707-1710, doi:10.1109/ICIP.2004.1421401. R > R_T, R >= G > B, S >= (255 - R) * S_T / R_T, where S is the
   saturation of the HSI space in percent, S_T = 55 and R_T = 135.

Candidates that touch are a spot. Our own additions, for a still picture without the motion that both papers go on to
use: R must exceed RED_MIN, so that a lamp or a flame parts from what it lights; and a spot is scored by how much it
stands out against its surroundings, since a source of light is brighter and more orange than all around it, and glares
so much that the camera's red saturates; an orange surface in daylight does neither.
"""

import json
import math
import struct
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

import skylark

CHROMA_MIN = 40
"""Çelik and Demirel's tau, which they chose from a ROC curve."""
RED_THRESHOLD = 135
SATURATION_THRESHOLD_PERCENT = 55
"""Chen, Wu and Chiou's R_T and S_T; they give 115 to 135 and 55 to 65."""
RED_MIN = 190

AREA_MIN_CELLS = 4
AREA_MAX_SHARE = 0.25
"""A larger spot has too little around it to stand out against."""
SCORE_MIN = 0.5
SPOTS_MAX = 64

CORE_SHARE = 0.1
"""The share of a spot's cells, the brightest, that tell its peak."""
LUMA_SPAN = 219.0
"""Contrast of luma that scores 1: from black to white (ITU-R BT.601)."""
CHROMA_SPAN = 80.0
"""Contrast of Cr - Cb that scores 1."""
GLARE_FROM, GLARE_SPAN = 220.0, 30.0
"""A peak of red of 220 scores 0, of 250 and above 1."""

RASTER = struct.Struct("<4sB3x5I")
"""Header that preprocess.py writes: magic, version, raster width and height, factor, picture width and height."""
RASTER_MAGIC = b"SKYR"
RASTER_VERSION = 1


@dataclass(frozen=True)
class Raster:
    """The scaled picture in three planes, each cell the mean of factor x factor pixels."""

    width: int
    height: int
    factor: int
    picture_width: int
    picture_height: int
    red: bytes
    green: bytes
    blue: bytes


@dataclass(frozen=True)
class Colour:
    """Luma and chroma in ITU-R BT.601, studio range: y in 16..235, cb and cr in 16..240."""

    y: float
    cb: float
    cr: float

    @property
    def chroma(self) -> float:
        """Cr - Cb: how far from blue to red, about 0 for greys."""
        return self.cr - self.cb


@dataclass(frozen=True)
class Box:
    """Cells from left and top up to, without, right and bottom."""

    left: int
    top: int
    right: int
    bottom: int

    def grown(self, margin: int, raster: Raster) -> "Box":
        """The box with a margin all round, cut at the edges of the raster."""
        return Box(
            max(0, self.left - margin),
            max(0, self.top - margin),
            min(raster.width, self.right + margin),
            min(raster.height, self.bottom + margin),
        )


@dataclass(frozen=True)
class Spot:
    """A hot spot in pixels of the picture; the score, 0 to 1, says how much it stands out."""

    x: int
    y: int
    width: int
    height: int
    score: float
    area_px: int


@skylark.function
def detect(bundle: skylark.Bundle, ctx: skylark.Context) -> dict[str, bytes]:
    """Find what is bright and orange against its surroundings.

    Args:
        bundle: its field `preprocess` is the raster that preprocess.py makes.
        ctx: not used.

    Returns:
        The field `detect`, a JSON object in UTF-8: `version`; `image` with `width` and `height` of the picture in
        pixels; `thresholds`, the constants of the rule; `spots`, each with `x`, `y`, `width`, `height` and `area_px`
        in pixels of the picture and `score` in 0..1, the highest first, at most SPOTS_MAX; `spots_total`.

    Raises:
        ValueError: the field `preprocess` is missing or is no raster.
    """
    if "preprocess" not in bundle:
        raise ValueError(f"bundle: no field 'preprocess', expected the raster of preprocess.py; it has {list(bundle)}")
    raster = parse_raster(bytes(bundle["preprocess"]))
    spots = find_spots(raster)
    report = {
        "version": 1,
        "image": {"width": raster.picture_width, "height": raster.picture_height},
        "thresholds": {
            "chroma_min": CHROMA_MIN,
            "red_min": RED_MIN,
            "saturation_percent": SATURATION_THRESHOLD_PERCENT,
            "area_min_px": AREA_MIN_CELLS * raster.factor**2,
            "area_max_share": AREA_MAX_SHARE,
            "score_min": SCORE_MIN,
        },
        "spots_total": len(spots),
        "spots": [asdict(spot) for spot in spots[:SPOTS_MAX]],
    }
    return {"detect": json.dumps(report, separators=(",", ":")).encode()}


def parse_raster(data: bytes) -> Raster:
    """Read what preprocess.py wrote."""
    if len(data) < RASTER.size:
        raise ValueError(f"preprocess: raster of {len(data)} bytes, expected a header of {RASTER.size}")
    magic, version, width, height, factor, picture_width, picture_height = RASTER.unpack_from(data)
    if (magic, version) != (RASTER_MAGIC, RASTER_VERSION):
        raise ValueError(
            f"preprocess: raster of format {magic!r} version {version}, expected {RASTER_MAGIC!r} {RASTER_VERSION}"
        )
    if len(data) != RASTER.size + 3 * width * height or 0 in (width, height, factor):
        raise ValueError(f"preprocess: raster of {len(data)} bytes for {width}x{height} cells of {factor} pixels")
    red, green, blue = (data[RASTER.size + channel :: 3] for channel in range(3))
    return Raster(width, height, factor, picture_width, picture_height, red, green, blue)


def find_spots(raster: Raster) -> list[Spot]:
    """The spots that stand out, the most striking first."""
    candidates = find_candidates(raster)
    area_max_cells = AREA_MAX_SHARE * raster.width * raster.height
    spots = [
        to_spot(raster, cells, score(raster, cells, candidates))
        for cells in components(candidates, raster.width)
        if AREA_MIN_CELLS <= len(cells) <= area_max_cells
    ]
    return sorted((spot for spot in spots if spot.score >= SCORE_MIN), key=lambda spot: (-spot.score, spot.y, spot.x))


def find_candidates(raster: Raster) -> set[int]:
    """The indices of the cells that both rules of the module's docstring take for a flame."""
    cells = range(raster.width * raster.height)
    mean = mean_colour(raster, cells)
    triples = zip(cells, raster.red, raster.green, raster.blue, strict=True)
    return {i for i, r, g, b in triples if r > RED_MIN and r >= g > b and is_flame(r, g, b, mean)}


def is_flame(red: int, green: int, blue: int, mean: Colour) -> bool:
    """Çelik and Demirel's rules 1 to 4 and Chen, Wu and Chiou's saturation; the caller has checked R >= G > B."""
    colour = to_colour(red, green, blue)
    saturation_percent = 100 - 300 * blue / (red + green + blue)
    return (
        colour.y > colour.cb
        and colour.y > mean.y
        and colour.cb < mean.cb
        and colour.cr > mean.cr
        and colour.chroma >= CHROMA_MIN
        and saturation_percent >= (255 - red) * SATURATION_THRESHOLD_PERCENT / RED_THRESHOLD
    )


def to_colour(red: float, green: float, blue: float) -> Colour:
    """RGB in 0..255 to YCbCr (ITU-R BT.601, 8 bits)."""
    return Colour(
        16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255,
        128 + (-37.797 * red - 74.203 * green + 112.0 * blue) / 255,
        128 + (112.0 * red - 93.786 * green - 18.214 * blue) / 255,
    )


def mean_colour(raster: Raster, cells: Collection[int]) -> Colour:
    """The mean colour of some cells, at least one; YCbCr is linear, so the means of R, G and B will do."""
    planes = raster.red, raster.green, raster.blue
    red, green, blue = (sum(map(plane.__getitem__, cells)) / len(cells) for plane in planes)
    return to_colour(red, green, blue)


def components(cells: set[int], width: int) -> Iterator[list[int]]:
    """Yield the groups of cells that touch at an edge or a corner."""
    steps = [(dx, dx + dy * width) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dx, dy) != (0, 0)]
    left = set(cells)
    while left:
        group = [left.pop()]
        for cell in group:  # the group grows while it is walked
            x = cell % width
            for dx, step in steps:
                neighbour = cell + step
                if neighbour in left and 0 <= x + dx < width:
                    left.remove(neighbour)
                    group.append(neighbour)
        yield group


def score(raster: Raster, cells: list[int], candidates: set[int]) -> float:
    """How much a spot stands out, 0 to 1: the geometric mean of three ratios, each cut to 0..1.

    luma:   (Y of the peak - Y of the surroundings) / LUMA_SPAN
    chroma: (Cr - Cb of the spot - Cr - Cb of the surroundings) / CHROMA_SPAN
    glare:  (R of the peak - GLARE_FROM) / GLARE_SPAN

    The peak is the mean of the CORE_SHARE highest values in the spot. Without surroundings the score is 0.
    """
    ring = surroundings(raster, bounds(raster, cells), len(cells), candidates)
    if not ring:
        return 0.0
    around = mean_colour(raster, ring)
    luma = peak([to_colour(raster.red[i], raster.green[i], raster.blue[i]).y for i in cells]) - around.y
    chroma = mean_colour(raster, cells).chroma - around.chroma
    glare = peak([raster.red[i] for i in cells]) - GLARE_FROM
    ratios = (luma / LUMA_SPAN, chroma / CHROMA_SPAN, glare / GLARE_SPAN)
    return math.prod(min(1.0, max(0.0, ratio)) for ratio in ratios) ** (1 / 3)


def surroundings(raster: Raster, box: Box, area_cells: int, candidates: set[int]) -> list[int]:
    """The cells of a frame round a box that are no candidates themselves.

    One cell next to the box is left out, as it mixes spot and background. The frame is half as wide as the side of a
    square of the spot's area, at least 3 cells.
    """
    inner = box.grown(1, raster)
    outer = box.grown(1 + max(3, math.isqrt(area_cells) // 2), raster)
    return [
        y * raster.width + x
        for y in range(outer.top, outer.bottom)
        for x in range(outer.left, outer.right)
        if not (inner.top <= y < inner.bottom and inner.left <= x < inner.right)
        and y * raster.width + x not in candidates
    ]


def bounds(raster: Raster, cells: list[int]) -> Box:
    """The smallest box that holds all cells."""
    columns = [cell % raster.width for cell in cells]
    return Box(min(columns), min(cells) // raster.width, max(columns) + 1, max(cells) // raster.width + 1)


def peak(values: list[int] | list[float]) -> float:
    """The mean of the CORE_SHARE highest values, at least one."""
    highest = sorted(values, reverse=True)[: math.ceil(CORE_SHARE * len(values))]
    return sum(highest) / len(highest)


def to_spot(raster: Raster, cells: list[int], score: float) -> Spot:
    """A group of cells in pixels of the picture; cells at its right and bottom edges can reach beyond it."""
    box = bounds(raster, cells)
    x, y = box.left * raster.factor, box.top * raster.factor
    right = min(raster.picture_width, box.right * raster.factor)
    bottom = min(raster.picture_height, box.bottom * raster.factor)
    width, height = right - x, bottom - y
    area_px = min(len(cells) * raster.factor**2, width * height)
    return Spot(x, y, width, height, round(score, 3), area_px)
