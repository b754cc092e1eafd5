from jaraco.context import ExceptionTrap, suppress


def call() -> object:
    """Trap an error, and suppress one."""
    with ExceptionTrap(ValueError) as trap:
        int("x")
    with suppress(KeyError):
        raise KeyError
    return bool(trap), trap.type.__name__, str(trap.value)
