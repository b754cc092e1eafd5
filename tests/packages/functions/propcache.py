from propcache import cached_property


class Circle:
    computed = 0

    @cached_property
    def area(self) -> float:
        self.computed += 1
        return 12.5


def call() -> object:
    """Compute a property once."""
    circle = Circle()
    return circle.area, circle.area, circle.computed
