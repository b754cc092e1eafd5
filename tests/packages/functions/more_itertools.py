import more_itertools as mi


def call() -> object:
    """Cut, window and spread sequences."""
    return (
        list(mi.chunked(range(5), 2)),
        list(mi.windowed("abcd", 3)),
        [list(one) for one in mi.divide(2, range(5))],
        mi.one([7]),
    )
