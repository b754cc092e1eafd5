import wrapt


@wrapt.decorator
def doubled(wrapped, instance, arguments, options):
    return 2 * wrapped(*arguments, **options)


@doubled
def double(value: int) -> int:
    return value


class Sensor:
    @doubled
    def read(self, value: int) -> int:
        return value + 1


def call() -> object:
    """Decorate a function and a method, and stand in for an object."""
    proxy = wrapt.ObjectProxy([1, 2])
    proxy.append(3)
    return double(2), Sensor().read(4), double.__name__, list(proxy), isinstance(proxy, list)
