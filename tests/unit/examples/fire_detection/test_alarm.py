import json
import re
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

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


alarm = load("alarm")
CTX = SimpleNamespace(chain_id="c-1", task_id="t-3", node="sat-7")


def answer(*scores: float, ctx: SimpleNamespace = CTX) -> Any:
    """Run the function on a report with a spot for each score."""
    spots = [{"x": 1, "y": 2, "width": 3, "height": 4, "score": score, "area_px": 9} for score in scores]
    detected = {"version": 1, "image": {"width": 640, "height": 427}, "spots": spots}
    return alarm.alarm({"detect": memoryview(json.dumps(detected).encode())}, ctx)


def event(*scores: float, ctx: SimpleNamespace = CTX) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(answer(*scores, ctx=ctx).body)
    return parsed


@pytest.mark.parametrize(
    ("scores", "raised"), [((), False), ((0.649,), False), ((0.65,), True), ((0.5, 0.9), True), ((1,), True)]
)
def test_a_spot_at_the_threshold_raises_the_alarm(scores: tuple[float, ...], raised: bool) -> None:
    """One spot of 0.65 is enough; less is all clear, as is no spot."""
    found = event(*scores)
    assert found["type"] == ("io.skylark.fire.alarm" if raised else "io.skylark.fire.clear")
    assert found["data"]["alarm"] is raised
    assert found["data"]["score"] == max(scores, default=0)


def test_the_event_has_what_the_specification_requires() -> None:
    """CloudEvents 1.0: specversion is 1.0; id, source and type are strings that are not empty."""
    found = event(0.9)
    assert found["specversion"] == "1.0"
    assert all(isinstance(found[name], str) and found[name] for name in ("id", "source", "type"))
    assert found["datacontenttype"] == "application/json"
    assert all(re.fullmatch("[a-z0-9]+", name) for name in found)


def test_the_time_is_now_in_rfc_3339() -> None:
    """The time is UTC, ends in Z and is the time of the decision."""
    text = event()["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_event_is_the_answer_and_the_state() -> None:
    """The caller gets the same bytes that become the chain's next bundle, with the content type of an event."""
    response = answer(0.9)
    assert response.content_type == "application/cloudevents+json"
    assert response.state == {"alarm": response.body}


def test_the_data_say_what_where_and_how_sure() -> None:
    """The spots and the picture's size are passed on, with the names of node, chain and task."""
    data = event(0.9)["data"]
    assert data["spots"] == [{"x": 1, "y": 2, "width": 3, "height": 4, "score": 0.9, "area_px": 9}]
    assert data["image"] == {"width": 640, "height": 427}
    assert data["score_min"] == 0.65
    assert (data["node"], data["chain_id"], data["task_id"]) == ("sat-7", "c-1", "t-3")


def test_a_task_that_runs_again_makes_the_same_event() -> None:
    """Source and id are the same for one task, and differ for another."""
    other = SimpleNamespace(chain_id="c-1", task_id="t-4", node="sat-7")
    identities = [(found["source"], found["id"]) for found in (event(0.9), event(0.9), event(0.9, ctx=other))]
    assert identities[0] == identities[1] != identities[2]


def test_a_node_name_cannot_break_the_source() -> None:
    """The source is a URI reference whatever the node is called."""
    found = event(ctx=SimpleNamespace(chain_id="c", task_id="t", node="a b/ü?"))
    assert found["source"] == "/skylark/a%20b%2F%C3%BC%3F/fire_detection"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a report of version 1"),
        (b'{"version": 2}', "not a report of version 1"),
        (b'{"version": 1, "spots": []}', "without the object 'image'"),
        (b'{"version": 1, "image": {}, "spots": 3}', "the array 'spots'"),
        (b'{"version": 1, "image": {}, "spots": [{"score": "high"}]}', r"spots\[0\] has no number 'score'"),
    ],
)
def test_what_is_no_report_is_refused(data: bytes, cause: str) -> None:
    """The error names the field, detect, and the cause."""
    with pytest.raises(ValueError, match=f"^detect: .*{cause}"):
        alarm.alarm({"detect": memoryview(data)}, CTX)


def test_a_missing_field_is_named() -> None:
    """Where the predecessor stored something else, the error says what was expected and what is there."""
    with pytest.raises(ValueError, match=r"no field 'detect'.*\['other'\]"):
        alarm.alarm({"other": memoryview(b"")}, CTX)
