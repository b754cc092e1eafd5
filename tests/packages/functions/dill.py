import dill


def call() -> object:
    """Pickle a lambda with its closure, and load it."""
    factor = 3
    pickled = dill.dumps(lambda number: number * factor)
    return dill.loads(pickled)(14), dill.pickles(print)
