import warnings

from deprecated import deprecated


@deprecated(reason="use new", version="1.2")
def old(value: int) -> int:
    return value + 1


def call() -> object:
    """Warn of an old function, and call it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = old(2)
    return answer, [str(one.message) for one in caught], old.__name__
