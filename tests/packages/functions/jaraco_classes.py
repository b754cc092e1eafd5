from jaraco.classes.properties import NonDataProperty, classproperty


class Sensor:
    _kind = "thermometer"

    @classproperty
    def kind(cls) -> str:  # noqa: N805
        return cls._kind

    @NonDataProperty
    def unit(self) -> str:
        return "K"


def call() -> object:
    """Use a property of a class."""
    return Sensor.kind, Sensor().unit
