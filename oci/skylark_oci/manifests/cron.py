"""Check cron schedules as Knative's PingSource does.

Sources: Knative Eventing, `pingsource_validation.go`, which asks `ParseStandard` of github.com/robfig/cron/v3, and
refuses `@every`.
"""

import re
from zoneinfo import ZoneInfo, available_timezones

_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_PARTS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minutes", 0, 59, {}),
    ("hours", 0, 23, {}),
    ("days of the month", 1, 31, {}),
    ("months", 1, 12, _MONTHS),
    ("days of the week", 0, 6, _DAYS),
)
_ZONE = re.compile(r"(CRON_)?TZ=(?P<zone>\S*) (?P<rest>.*)", re.DOTALL)
_NUMBER = re.compile(r"\+?[0-9]+")


def expected_schedule(text: str) -> str | None:
    """Return what was expected instead of a schedule that Knative refuses; None if it accepts the schedule."""
    if text.startswith(("TZ=", "CRON_TZ=")):
        zoned = _ZONE.fullmatch(text)
        if zoned is None:
            return "a time zone, a space and a schedule, as CRON_TZ=Europe/Vienna 0 6 * * *"
        if not _is_zone(zoned["zone"]):
            return f"a time zone such as Europe/Vienna, not {zoned['zone']!r}"
        text = zoned["rest"].strip()
    if "@every" in text:
        return "no @every, which Knative does not support; write */5 * * * * for every five minutes"
    if text.startswith("@"):
        return None if text in _DESCRIPTORS else f"one of {', '.join(_DESCRIPTORS)}"
    parts = text.split()
    if len(parts) != len(_PARTS):
        return f"the five parts of a cron schedule, as */5 * * * *; it has {len(parts)}"
    wrong = (_expected_part(part, *bounds) for part, bounds in zip(parts, _PARTS, strict=True))
    return next(filter(None, wrong), None)


def _is_zone(name: str) -> bool:
    """True if there is such a time zone, as far as this machine knows any."""
    if name in ("", "UTC", "Local"):
        return True
    if not available_timezones():
        return re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name) is not None
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # also of paths, and of folders such as Europe
        return False
    return True


def _expected_part(part: str, name: str, low: int, high: int, names: dict[str, int]) -> str | None:
    ranges = [one for one in part.split(",") if one]
    if ranges and all(_is_range(one, low, high, names) for one in ranges):
        return None
    words = f" or {', '.join(names).upper()}" if names else ""
    return f"{name} from {low} to {high}{words} as the {_place(name)} part, not {part!r}"


def _place(name: str) -> str:
    order = ("first", "second", "third", "fourth", "fifth")
    return order[[part[0] for part in _PARTS].index(name)]


def _is_range(text: str, low: int, high: int, names: dict[str, int]) -> bool:
    """True for `*`, `?`, `3`, `1-5`, `MON-FRI`, each with or without a step such as `/2`."""
    span, *steps = text.split("/")
    first, *last = span.split("-")
    if len(steps) > 1 or any(not _NUMBER.fullmatch(step) or int(step) == 0 for step in steps):
        return False
    if first in ("*", "?"):
        return True
    ends = [_value(one, names) for one in (first, *last)]
    if len(ends) > 2 or None in ends:
        return False
    start, end = ends[0], ends[-1]
    return start is not None and end is not None and low <= start <= end <= high


def _value(text: str, names: dict[str, int]) -> int | None:
    if text.lower() in names:
        return names[text.lower()]
    return int(text) if _NUMBER.fullmatch(text) else None
