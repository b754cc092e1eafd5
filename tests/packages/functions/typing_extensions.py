from typing import NotRequired

from typing_extensions import TypedDict, get_type_hints, is_typeddict, override


class Reading(TypedDict):
    celsius: float
    place: NotRequired[str]


class Sensor:
    @override
    def read(self) -> float:
        return 1.0


def call() -> object:
    """Read the hints of a typed dict, and mark a method."""
    hints = get_type_hints(Reading, include_extras=True)
    return sorted(hints), sorted(Reading.__required_keys__), is_typeddict(Reading), Sensor.read.__override__
