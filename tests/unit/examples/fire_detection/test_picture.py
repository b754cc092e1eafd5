import io
import zlib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from PIL import Image

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


picture = load("picture")


def noise(width: int, height: int) -> Image.Image:
    return Image.merge("RGB", [Image.effect_noise((width, height), 90) for _ in range(3)])


def encoded(path: Path) -> Image.Image:
    opened: Image.Image = Image.open(io.BytesIO(picture.encode_png(path)))
    opened.load()
    return opened


def event(*spots: tuple[int, int, int, int, float], width: int = 100, height: int = 80) -> dict[str, Any]:
    names = ("x", "y", "width", "height", "score")
    listed = [dict(zip(names, spot, strict=True)) for spot in spots]
    return {"data": {"score_min": 0.65, "image": {"width": width, "height": height}, "spots": listed}}


def test_the_png_holds_the_picture(tmp_path: Path) -> None:
    """Pillow, which checks the CRCs, reads the same pixels from the PNG."""
    original = noise(33, 21)
    original.save(tmp_path / "a.tiff")
    assert encoded(tmp_path / "a.tiff").tobytes() == original.tobytes()


def test_every_row_has_the_filter_up(tmp_path: Path) -> None:
    """The functions are quick because of it."""
    noise(33, 21).save(tmp_path / "a.png")
    png = picture.encode_png(tmp_path / "a.png")
    start = png.index(b"IDAT")
    size_bytes = int.from_bytes(png[start - 4 : start], "big")
    rows = zlib.decompress(png[start + 4 : start + 4 + size_bytes])
    assert set(rows[:: 1 + 3 * 33]) == {2}


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    """A photograph that lies on its side in the file is uploaded upright."""
    lying = Image.new("RGB", (64, 32), "black")
    lying.paste("white", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    lying.save(tmp_path / "a.jpg", exif=exif)
    upright = encoded(tmp_path / "a.jpg")
    assert upright.size == (32, 64)
    assert upright.getpixel((16, 8)) == (255, 255, 255)
    assert upright.getpixel((16, 56)) == (0, 0, 0)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_large_picture_is_scaled_down_before_the_upload(tmp_path: Path, suffix: str) -> None:
    """The longer side of the PNG is 1280 pixels at most, and its proportions are kept."""
    Image.new("RGB", (3000, 1500), "orange").save(tmp_path / f"a.{suffix}")
    assert encoded(tmp_path / f"a.{suffix}").size == (1280, 640)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I"])
def test_any_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """Whatever the mode, a mid grey stays a mid grey."""
    grey = Image.new("RGB", (8, 8), (255, 255, 255) if mode == "1" else (128, 128, 128))
    if mode.startswith("I"):
        grey = Image.new("I", (8, 8), 128 * 256)
    grey.convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.tiff")
    found = encoded(tmp_path / "a.tiff")
    assert found.mode == "RGB"
    assert found.getpixel((4, 4)) == ((255, 255, 255) if mode == "1" else (128, 128, 128))


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    """The error says which file is no picture."""
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"notes\.txt: not a picture"):
        picture.encode_png(tmp_path / "notes.txt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path without a file is a FileNotFoundError, not a damaged picture."""
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        picture.encode_png(tmp_path / "gone.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_a_damaged_picture_is_named(tmp_path: Path, suffix: str) -> None:
    """A file that was cut is refused, not read as far as it goes."""
    noise(64, 64).save(tmp_path / f"cut.{suffix}")
    whole = (tmp_path / f"cut.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"cut.{suffix}: "):
        picture.encode_png(tmp_path / f"cut.{suffix}")


@pytest.mark.parametrize("limit_px", [300, 100])
def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_px: int) -> None:
    """Pillow warns above its limit and fails above twice the limit; both are refused, with the file's name."""
    noise(20, 20).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit_px)
    with pytest.raises(ValueError, match=r"bomb\.png: too large"):
        picture.encode_png(tmp_path / "bomb.png")


def test_spots_are_drawn_round_their_boxes(tmp_path: Path) -> None:
    """Lines run outside the box, red where the alarm was raised and yellow elsewhere; the inside stays as it was."""
    Image.new("RGB", (100, 80), "black").save(tmp_path / "a.png")
    picture.annotate(tmp_path / "a.png", event((40, 50, 20, 10, 0.9), (70, 50, 10, 10, 0.5)), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as drawn:
        assert drawn.getpixel((39, 55)) == (255, 45, 45)
        assert drawn.getpixel((69, 55)) == (255, 214, 10)
        assert drawn.crop((40, 50, 60, 60)).getcolors() == [(200, (0, 0, 0))]


def test_boxes_follow_the_scale_of_the_upload(tmp_path: Path) -> None:
    """Spots are in pixels of the uploaded PNG; on a picture twice its size they are drawn twice as large."""
    Image.new("RGB", (200, 160), "black").save(tmp_path / "a.png")
    picture.annotate(tmp_path / "a.png", event((40, 50, 20, 10, 0.9)), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as drawn:
        assert drawn.crop((80, 100, 120, 120)).getcolors() == [(800, (0, 0, 0))]
        assert drawn.getpixel((79, 110)) == drawn.getpixel((121, 110)) == (255, 45, 45)


@pytest.mark.parametrize("box", [(0, 0, 10, 10), (90, 0, 10, 10), (0, 70, 10, 10), (90, 70, 10, 10), (0, 0, 100, 80)])
def test_the_score_stays_within_the_picture(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    """At any corner, and in a box as large as the picture, the dark digits of the score can be seen."""
    Image.new("RGB", (100, 80), "white").save(tmp_path / "a.png")
    picture.annotate(tmp_path / "a.png", event((*box, 0.88)), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as drawn:
        dark = drawn.convert("L").point(lambda level: 255 if level < 60 else 0).getbbox()
    assert dark is not None
    assert dark[2] - dark[0] > 15
    assert dark[3] - dark[1] > 6


@pytest.mark.parametrize("wrong", [{}, {"data": None}, {"data": {}}, event(width=0), {"data": {"image": {"width": 5}}}])
def test_an_event_of_another_kind_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """The error names the event, and nothing is written."""
    Image.new("RGB", (100, 80)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"^event: "):
        picture.annotate(tmp_path / "a.png", wrong, tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


def test_the_sample_is_a_photograph() -> None:
    """scikit-image's rocket is found, and is a picture of a known size."""
    with Image.open(picture.sample_photograph()) as sample:
        assert sample.size == (640, 427)


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample is an extra of the distribution."""
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"pip install 'skylark\[demo\]'"):
        picture.sample_photograph()


def test_an_unknown_sample_is_named() -> None:
    """A name that scikit-image does not ship is in the error."""
    with pytest.raises(FileNotFoundError, match=r"no_such\.jpg"):
        picture.sample_photograph("no_such.jpg")
