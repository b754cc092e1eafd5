import traitlets


class Sensor(traitlets.HasTraits):
    celsius = traitlets.Float(0.0)
    name = traitlets.Unicode()

    @traitlets.default("name")
    def _name(self) -> str:
        return "sat1"


def call() -> object:
    """Check a value's type, fill in a default, and tell of a change."""
    sensor, seen = Sensor(), []
    sensor.observe(lambda change: seen.append([change["old"], change["new"]]), "celsius")
    sensor.celsius = 20.5
    try:
        sensor.celsius = "warm"
    except traitlets.TraitError:
        refused = True
    return sensor.name, sensor.celsius, seen, refused
