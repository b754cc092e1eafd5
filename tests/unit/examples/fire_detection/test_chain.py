import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
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


alarm, detect, picture, preprocess = (load(name) for name in ("alarm", "detect", "picture", "preprocess"))

LAMPS = [(82, 350), (151, 378), (193, 396), (364, 397), (433, 395)]
"""The centres of the orange lamps in rocket.jpg."""
WHITE_LAMPS = [(111, 417), (451, 419)]


def event(name: str) -> dict[str, Any]:
    """Run the whole chain on a photograph of scikit-image."""
    body = picture.encode_png(picture.sample_photograph(name))
    request = SimpleNamespace(body=memoryview(body))
    ctx = SimpleNamespace(request=request, chain_id="c", task_id="t", node="edge-1")
    bundle = {field: memoryview(value) for field, value in preprocess.preprocess({}, ctx).items()}
    bundle = {field: memoryview(value) for field, value in detect.detect(bundle, ctx).items()}
    parsed: dict[str, Any] = json.loads(alarm.alarm(bundle, ctx).body)
    return parsed


def holds(spot: dict[str, Any], point: tuple[int, int]) -> bool:
    x, y = point
    return bool(spot["x"] <= x < spot["x"] + spot["width"] and spot["y"] <= y < spot["y"] + spot["height"])


def test_the_lamps_at_the_rocket_raise_the_alarm() -> None:
    """Each orange lamp is in one box of its own, the two white ones are in none, and there is little else."""
    found = event("rocket.jpg")
    assert found["type"] == "io.skylark.fire.alarm"
    spots = found["data"]["spots"]
    assert [sum(holds(spot, lamp) for spot in spots) for lamp in LAMPS] == [1] * len(LAMPS)
    assert max(sum(holds(spot, lamp) for lamp in LAMPS) for spot in spots) == 1
    assert not any(holds(spot, lamp) for spot in spots for lamp in WHITE_LAMPS)
    assert len(spots) <= len(LAMPS) + 1


def test_the_boxes_at_the_rocket_are_on_bright_orange() -> None:
    """Every box holds glaring orange, is small, and is far more orange than the picture."""
    with Image.open(picture.sample_photograph()) as sample:
        for spot in event("rocket.jpg")["data"]["spots"]:
            box = spot["x"], spot["y"], spot["x"] + spot["width"], spot["y"] + spot["height"]
            assert 0 <= box[0] < box[2] <= sample.width
            assert 0 <= box[1] < box[3] <= sample.height
            assert spot["width"] * spot["height"] < 0.01 * sample.width * sample.height
            pixels = list(zip(*(channel.tobytes() for channel in sample.crop(box).split()), strict=True))
            glaring = [red for red, green, blue in pixels if red > 230 and red >= green > blue and red - blue > 60]
            assert len(glaring) >= 10


@pytest.mark.parametrize("name", ["coffee.png", "astronaut.png", "chelsea.png", "retina.jpg", "ihc.png", "moon.png"])
def test_what_is_merely_orange_or_bright_raises_no_alarm(name: str) -> None:
    """Day scenes, an orange space suit, wood, a cat, an eye that is all orange: no spot stands out."""
    found = event(name)
    assert found["type"] == "io.skylark.fire.clear"
    assert found["data"]["spots"] == []


@pytest.mark.parametrize("name", ["hubble_deep_field.jpg", "motorcycle_left.png"])
def test_known_false_alarms(name: str) -> None:
    """The README says that reddish galaxies on black and flash on red paint fool the rule; when this fails, fix it."""
    assert event(name)["type"] == "io.skylark.fire.alarm"
