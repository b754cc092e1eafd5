import attrs


@attrs.frozen
class Point:
    x: int = attrs.field(converter=int)
    y: int = attrs.field(default=0, validator=attrs.validators.ge(0))


def call() -> object:
    """Make a class with a validator and a converter, evolve and convert an instance."""
    point = attrs.evolve(Point("3"), y=4)
    try:
        Point("x", y=-1)
    except ValueError as error:
        refused = str(error)
    return attrs.asdict(point), repr(point), point == Point(3, 4), refused
