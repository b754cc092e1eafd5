from frozenlist import FrozenList


def call() -> object:
    """Freeze a list, and refuse a change of it."""
    numbers = FrozenList([1, 2])
    numbers.append(3)
    numbers.freeze()
    try:
        numbers.append(4)
    except RuntimeError as error:
        refused = str(error)
    return list(numbers), hash(numbers) == hash((1, 2, 3)), refused
