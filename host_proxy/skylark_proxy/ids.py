"""Names for chains and tasks, drawn from random bytes that are read from the system for many of them at once."""

import os

_ID_BYTES = 16
_IDS_READ = 256

_ready: list[str] = []
os.register_at_fork(after_in_child=_ready.clear)  # a child must not give out the names of its parent


def new_id() -> str:
    """A name for a chain or a task: 128 random bits in hexadecimal. Safe for threads."""
    while True:
        try:
            return _ready.pop()
        except IndexError:
            read = os.urandom(_ID_BYTES * _IDS_READ).hex()
            _ready.extend(read[at : at + 2 * _ID_BYTES] for at in range(0, len(read), 2 * _ID_BYTES))
