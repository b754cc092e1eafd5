"""Raise the alarm, or say that all is clear: the last function of the fire detection chain.

The answer is an event by the CloudEvents specification 1.0.2 in its JSON format ("structured mode"),
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import skylark

ALARM_SCORE_MIN = 0.65
"""At least one spot with this score is an alarm; what scores less is reported, but raises none."""

ALARM = "io.skylark.fire.alarm"
CLEAR = "io.skylark.fire.clear"
CONTENT_TYPE = "application/cloudevents+json"


@skylark.function
def alarm(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Decide whether there is a fire: there is if any spot has a score of ALARM_SCORE_MIN or more.

    Args:
        bundle: its field `detect` is the JSON that detect.py makes.
        ctx: names the node, the chain and the task, which are in the event.

    Returns:
        The CloudEvent, as the answer to the caller and as the field `alarm`. A task that is run again makes an event
        with the same `source` and `id`, so that a consumer can tell the two are one. Its `data`: `alarm` (a boolean),
        `score` (of the best spot, 0 without one), `score_min` (the threshold), `image` (width and height in pixels),
        `spots` (those of `detect`, all in pixels, the best first), `node`, `chain_id` and `task_id`.

    Raises:
        ValueError: the field `detect` is missing or is not that JSON.
    """
    if "detect" not in bundle:
        raise ValueError(f"bundle: no field 'detect', expected the JSON of detect.py; it has {list(bundle)}")
    report = parse_report(bytes(bundle["detect"]))
    event = to_event(report, ctx, datetime.now(UTC))
    body = json.dumps(event, separators=(",", ":")).encode()
    return skylark.Response(body=body, content_type=CONTENT_TYPE, state={"alarm": body})


def parse_report(data: bytes) -> dict[str, Any]:
    """Read what detect.py wrote, and check the parts that are used here."""
    try:
        report = json.loads(data)
    except ValueError as error:
        raise ValueError(f"detect: not JSON: {error}") from error
    if not isinstance(report, dict) or report.get("version") != 1:
        raise ValueError("detect: not a report of version 1")
    if not isinstance(report.get("image"), dict) or not isinstance(report.get("spots"), list):
        raise ValueError("detect: a report without the object 'image' or the array 'spots'")
    for index, spot in enumerate(report["spots"]):
        if not isinstance(spot, dict) or not isinstance(spot.get("score"), int | float):
            raise ValueError(f"detect: spots[{index}] has no number 'score'")
    return report


def to_event(report: dict[str, Any], ctx: skylark.Context, now: datetime) -> dict[str, Any]:
    """Make the CloudEvent of a report."""
    best_score = max((spot["score"] for spot in report["spots"]), default=0.0)
    raised = best_score >= ALARM_SCORE_MIN
    return {
        "specversion": "1.0",
        "id": f"{ctx.chain_id}:{ctx.task_id}",
        "source": f"/skylark/{quote(ctx.node, safe='')}/fire_detection",
        "type": ALARM if raised else CLEAR,
        "time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {
            "alarm": raised,
            "score": best_score,
            "score_min": ALARM_SCORE_MIN,
            "image": report["image"],
            "spots": report["spots"],
            "node": ctx.node,
            "chain_id": ctx.chain_id,
            "task_id": ctx.task_id,
        },
    }
