import exceptiongroup


def call() -> object:
    """Split a group of errors, and catch a part of it."""
    group = exceptiongroup.ExceptionGroup("several", [ValueError("a"), OSError("b")])
    caught = []
    with exceptiongroup.catch({ValueError: lambda found: caught.extend(found.exceptions), OSError: lambda found: None}):
        raise group
    return [str(error) for error in caught], str(group)
