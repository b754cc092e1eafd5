"""Folders that are gone in the end, and endings that no further Ctrl-C disturbs."""

import contextlib
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_LAST_WRITE_S = 5.0


@contextlib.contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder that is gone in the end, also where a second Ctrl-C comes while it is removed.

    A process that an interrupt ended while it was being started may write its last file meanwhile.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        with undisturbed():
            end_s = time.monotonic() + _LAST_WRITE_S
            while folder.exists() and time.monotonic() < end_s:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ignores Ctrl-C meanwhile; in a thread other than the main one, where it does not come, it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
