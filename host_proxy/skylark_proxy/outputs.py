"""What commands write: an output that cannot be written is named as it was given."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skylark_proxy.errors import InvalidArgument

_FILE = "a file that can be written"
FOLDER = "a folder that can be written"


@contextmanager
def writing(option: str, path: Path, expected: str = _FILE) -> Iterator[None]:
    """Have the system's error be one about the option.

    Raises:
        InvalidArgument: What is done in this context failed with an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InvalidArgument(option, str(path), f"{expected} ({error.strerror or error})") from error


def prepare_file(option: str, path: Path) -> None:
    """Make the folder of an output, so that work of minutes is not begun for a file that cannot be written.

    Raises:
        InvalidArgument: It is a folder, or nothing can be written there.
    """
    with writing(option, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.exists():
            # only a try tells: root may write everywhere, except where no file can be
            tempfile.TemporaryFile(dir=path.parent).close()
        elif not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def check_named(argument: str, path: Path, expected: str) -> None:
    """Check that a path ends in a name, by which an output beside it can be called.

    Raises:
        InvalidArgument: It is empty, or the folder `.` or `/`.
    """
    if not path.name:
        raise InvalidArgument(argument, str(path), expected)
