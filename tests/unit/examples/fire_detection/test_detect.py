import json
import struct
from importlib.util import module_from_spec, spec_from_file_location
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

EXAMPLE = Path(__file__).parents[4] / "examples" / "fire_detection"


def load(name: str) -> ModuleType:
    """Load a file of the example, without a trace in the SDK's registry."""
    spec = spec_from_file_location(f"fire_detection_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with patch.dict("skylark.functions.REGISTRY", clear=True):
        spec.loader.exec_module(module)
    return module


detect = load("detect")

Pixel = tuple[int, int, int]
NIGHT: Pixel = (20, 30, 60)
GLARE: Pixel = (255, 200, 60)
"""The yellow-orange that a flame or a sodium lamp has where the sensor is nearly saturated."""
EMBER: Pixel = (215, 120, 40)
"""The same hue, but not glaring."""


def raster(
    width: int, height: int, cells: dict[tuple[int, int], Pixel], ground: Pixel = NIGHT, factor: int = 1
) -> bytes:
    """A raster of one colour with some cells of another; the picture is a pixel smaller than the cells cover."""
    header = struct.pack("<4sB3x5I", b"SKYR", 1, width, height, factor, width * factor, height * factor - factor // 2)
    return header + b"".join(bytes(cells.get((x, y), ground)) for y, x in product(range(height), range(width)))


def block(left: int, top: int, width: int, height: int, colour: Pixel = GLARE) -> dict[tuple[int, int], Pixel]:
    return {(x, y): colour for x in range(left, left + width) for y in range(top, top + height)}


def report(data: bytes) -> dict[str, Any]:
    fields = detect.detect({"preprocess": memoryview(data)}, None)
    assert list(fields) == ["detect"]
    parsed: dict[str, Any] = json.loads(fields["detect"])
    return parsed


def boxes(data: bytes) -> list[tuple[int, int, int, int]]:
    return [(spot["x"], spot["y"], spot["width"], spot["height"]) for spot in report(data)["spots"]]


def test_a_glaring_spot_at_night_is_found_where_it_is() -> None:
    """Box, area and picture size are in pixels of the picture, and the score is near its maximum."""
    found = report(raster(40, 30, block(10, 8, 5, 4), factor=3))
    assert found["image"] == {"width": 120, "height": 89}
    assert found["spots_total"] == 1
    (spot,) = found["spots"]
    assert {name: spot[name] for name in ("x", "y", "width", "height", "area_px")} == {
        "x": 30,
        "y": 24,
        "width": 15,
        "height": 12,
        "area_px": 180,
    }
    assert 0.8 < spot["score"] <= 1


def test_the_report_tells_its_thresholds() -> None:
    """A reader of the report needs no source to know the rule's constants."""
    assert report(raster(8, 8, {}, factor=2))["thresholds"] == {
        "chroma_min": 40,
        "red_min": 190,
        "saturation_percent": 55,
        "area_min_px": 16,
        "area_max_share": 0.25,
        "score_min": 0.5,
    }


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(raster(40, 30, {}), id="nothing"),
        pytest.param(raster(40, 30, {}, ground=GLARE), id="all orange"),
        pytest.param(raster(40, 30, block(3, 3, 34, 24)), id="too large to stand out"),
        pytest.param(raster(40, 30, block(10, 8, 3, 1)), id="too small"),
        pytest.param(raster(40, 30, block(10, 8, 5, 4, EMBER)), id="orange that does not glare"),
        pytest.param(raster(40, 30, block(10, 8, 5, 4, (255, 255, 255))), id="white lamp"),
        pytest.param(raster(40, 30, block(10, 8, 5, 4, (255, 235, 215))), id="pale lamp"),
        pytest.param(raster(4, 4, block(1, 1, 2, 2)), id="no surroundings"),
        pytest.param(raster(40, 30, block(10, 8, 5, 4, (60, 120, 255))), id="blue lamp"),
        pytest.param(raster(40, 30, block(10, 8, 5, 4), ground=(240, 180, 90)), id="orange on orange"),
    ],
)
def test_what_does_not_stand_out_is_no_spot(data: bytes) -> None:
    """Colour alone is not enough: size, glare and contrast to the surroundings are needed too."""
    assert report(data)["spots"] == []


def test_cells_that_touch_at_a_corner_are_one_spot() -> None:
    """Components are 8-connected."""
    assert boxes(raster(40, 30, block(10, 8, 3, 3) | block(13, 11, 3, 3))) == [(10, 8, 6, 6)]


def test_the_ends_of_neighbouring_rows_do_not_touch() -> None:
    """A spot at the right edge and one at the left edge stay two."""
    found = boxes(raster(40, 30, block(37, 8, 3, 4) | block(0, 9, 3, 4)))
    assert sorted(found) == [(0, 9, 3, 4), (37, 8, 3, 4)]


def test_spots_come_with_the_highest_score_first() -> None:
    """The dimmer spot is second, though it is further up."""
    found = report(raster(60, 30, block(5, 2, 4, 4, (240, 170, 60)) | block(30, 20, 4, 4)))["spots"]
    assert [spot["x"] for spot in found] == [30, 5]
    assert found[0]["score"] > found[1]["score"]


def test_a_brighter_ground_lowers_the_score() -> None:
    """The score is a contrast: the same spot counts less, the less it stands out."""
    levels = (10, 60, 110)
    scores = [report(raster(40, 30, block(10, 8, 5, 4), ground=(g, g, g)))["spots"][0]["score"] for g in levels]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(levels)


def test_no_more_than_the_limit_is_listed() -> None:
    """Of a hundred spots 64 are listed and all are counted."""
    cells: dict[tuple[int, int], Pixel] = {}
    for column, row in product(range(10), range(10)):
        cells |= block(4 + 12 * column, 4 + 12 * row, 2, 2)
    found = report(raster(124, 124, cells))
    assert (found["spots_total"], len(found["spots"])) == (100, 64)


@given(
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    factor=st.integers(1, 4),
    box=st.tuples(st.integers(0, 29), st.integers(0, 29), st.integers(1, 12), st.integers(1, 12)),
    ground=st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)),
)
def test_boxes_lie_within_the_picture(
    size: tuple[int, int], factor: int, box: tuple[int, int, int, int], ground: Pixel
) -> None:
    """Whatever the picture, no box is empty or leaves it, and no score leaves 0.5..1."""
    found = report(raster(*size, block(*box), ground, factor))
    for spot in found["spots"]:
        assert 0 <= spot["x"] < spot["x"] + spot["width"] <= found["image"]["width"]
        assert 0 <= spot["y"] < spot["y"] + spot["height"] <= found["image"]["height"]
        assert 0 < spot["area_px"] <= spot["width"] * spot["height"]
        assert 0.5 <= spot["score"] <= 1


SOUND = raster(4, 4, {})


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "raster of 0 bytes"),
        (b"JUNK" + SOUND[4:], "format b'JUNK' version 1"),
        (SOUND[:4] + b"\2" + SOUND[5:], "version 2"),
        (SOUND[:-1], "75 bytes for 4x4 cells"),
        (SOUND + b"\0", "77 bytes for 4x4 cells"),
        (struct.pack("<4sB3x5I", b"SKYR", 1, 0, 0, 1, 0, 0), "0x0 cells"),
    ],
)
def test_what_is_no_raster_is_refused(data: bytes, cause: str) -> None:
    """The error names the field, preprocess, and the cause."""
    with pytest.raises(ValueError, match=f"^preprocess: .*{cause}"):
        report(data)


def test_a_missing_field_is_named() -> None:
    """Where the predecessor stored something else, the error says what was expected and what is there."""
    with pytest.raises(ValueError, match=r"no field 'preprocess'.*\['other'\]"):
        detect.detect({"other": memoryview(b"")}, None)
