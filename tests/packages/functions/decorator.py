import inspect

from decorator import contextmanager, decorator


@decorator
def logged(function, *arguments, **options):
    return [function.__name__, function(*arguments, **options)]


@logged
def add(a: int, b: int = 2) -> int:
    return a + b


@contextmanager
def entered(name):
    yield name * 2


def call() -> object:
    """Decorate a function and keep its signature."""
    with entered("x") as name:
        return str(inspect.signature(add)), add(1), name
