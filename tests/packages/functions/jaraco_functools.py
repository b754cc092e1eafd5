from jaraco.functools import compose, once, retry_call


def call() -> object:
    """Compose functions, call one once, and retry one."""
    attempts = iter([ValueError(), None])

    def work() -> str:
        if error := next(attempts):
            raise error
        return "done"

    counted = once(lambda: object())
    return compose(str, abs)(-3), counted() is counted(), retry_call(work, retries=2, trap=ValueError)
