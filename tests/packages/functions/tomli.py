import tomli


def call() -> object:
    """Read a document with a date, and tell where a wrong one ends."""
    try:
        tomli.loads("a = [1,")
    except tomli.TOMLDecodeError as error:
        refused = str(error)
    document = tomli.loads("a.b = 1\nday = 2024-03-01T10:00:00Z\n[[t]]\nx = 0x1F\n")
    return document["a"], document["day"].isoformat(), document["t"], refused
