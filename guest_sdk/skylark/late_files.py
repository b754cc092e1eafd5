"""Keep data files in a component, and let a function read them at their paths.

No file exists in a sandbox, but packages read theirs while a function runs: with `open` beside `__file__`, with
`pathlib`, `pkgutil.get_data`, `importlib.resources` or `importlib.metadata`. All of these come down to a few functions
of `io` and `os`. Here these get stand-ins, which look among the kept files first.
"""

import builtins
import errno
import io
import os
import posixpath
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Any, Self

_HINT = "a component has no files but those of its packages; read it at the top of the function's file"
_READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
_REAL = ("/dev/",)
"""Folders that no file of the build is in. A hint would be wrong there."""


def stand_in(plain: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function stand in for one of `os`: those who ask what that supports get the same answer. Return it."""
    function.__wrapped__ = plain  # type: ignore[attr-defined]
    for supporting in (os.supports_dir_fd, os.supports_follow_symlinks, os.supports_fd):
        if plain in supporting:
            supporting.add(function)
    return function


class LateFiles:
    """Files by path, packed, and the folders that they are in."""

    def __init__(self) -> None:
        self._packed: dict[str, tuple[int, bytes]] = {}
        self._folders: dict[str, dict[str, None]] = {}
        self._shown = False

    def keep(self, path: str) -> None:
        """Pack the content of a file."""
        with io.FileIO(path) as file:
            content = file.readall()
        self._packed[path] = len(content), zlib.compress(content, 1)
        self.name(path)

    def name(self, path: str) -> None:
        """Let the folder of a path list its name, and so on up."""
        folder, _, name = path.rpartition("/")
        while folder:
            self._folders.setdefault(folder, {})[name] = None
            folder, _, name = folder.rpartition("/")

    def show(self) -> None:
        """Let what is kept be found in place of the real files, which are gone once the build has ended."""
        self._shown = True

    def read(self, path: str) -> bytes:
        """Return the content of a kept file.

        Raises:
            KeyError: It is not kept.
        """
        return zlib.decompress(self._packed[path][1])

    def use(self) -> None:
        """Put the stand-ins in place, before a module takes one of the functions by name."""
        builtins.open = io.open = self._opening(io.open)  # type: ignore[assignment]
        open_code = self._opening_code(io.open_code)
        for module in (io, sys.modules["_io"]):  # the loaders of the import system look in the second
            setattr(module, "open_code", open_code)  # noqa: B010
        for name, function in (
            ("stat", self._stat),
            ("lstat", self._stat),
            ("access", self._access),
            ("listdir", self._listdir),
            ("scandir", self._scandir),
        ):
            setattr(os, name, self._asking(getattr(os, name), function))

    def _opening(self, plain: Callable[..., IO[Any]]) -> Callable[..., IO[Any]]:
        def open(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
            path = _absolute(file)
            if path == os.devnull:
                return _as_asked(_Null(), mode, *arguments, **options)
            if self._shown and path in self._packed:
                return self._open(path, mode, *arguments, **options)
            try:
                return plain(file, mode, *arguments, **options)
            except FileNotFoundError as error:
                if self._shown and path and "r" in mode and not path.startswith(_REAL) and error.strerror:
                    error.strerror += f": {_HINT}"
                raise

        open.__wrapped__ = plain  # type: ignore[attr-defined]
        return open

    def _open(self, path: str, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:
        if set(mode) - set("rbt"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return _as_asked(_File(self.read(path), path), mode, *arguments, **options)

    def _opening_code(self, plain: Callable[[str], IO[bytes]]) -> Callable[[str], IO[bytes]]:
        def open_code(path: str) -> IO[bytes]:
            return self._open(path, "rb") if self._shown and path in self._packed else plain(path)

        return open_code

    def _asking(self, plain: Callable[..., Any], kept: Callable[..., Any]) -> Callable[..., Any]:
        def asking(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            absolute = _absolute(path) if self._shown else None
            if absolute is not None and (absolute in self._folders or self._is_listed(absolute)):
                return kept(path, absolute, *arguments, **options)
            return plain(path, *arguments, **options)

        return stand_in(plain, asking)

    def _is_listed(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return name in self._folders.get(folder, ())

    def _stat(self, _path: Any, absolute: str, **_options: Any) -> os.stat_result:
        if absolute in self._folders:
            mode, size = stat.S_IFDIR | _READ_ONLY | stat.S_IXUSR, 0
        else:
            mode, size = stat.S_IFREG | _READ_ONLY, self._packed.get(absolute, (0, b""))[0]
        times = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns"), 0)
        return os.stat_result((mode, abs(hash(absolute)), 0, 1, 0, 0, size, 0, 0, 0), times)

    def _access(self, _path: Any, _absolute: str, mode: int, **_options: Any) -> bool:
        return not mode & os.W_OK

    def _listdir(self, path: Any, absolute: str) -> list[Any]:
        names = self._names(path, absolute)
        return [os.fsencode(name) for name in names] if isinstance(path, bytes) else names

    def _scandir(self, path: Any, absolute: str) -> "_Entries":
        shown = os.fsdecode(path)
        names = self._names(path, absolute)
        return _Entries(
            _Entry(name, posixpath.join(shown, name), self._stat(None, posixpath.join(absolute, name)))
            for name in names
        )

    def _names(self, path: Any, absolute: str) -> list[str]:
        if absolute not in self._folders:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return sorted(self._folders[absolute])


class _File(io.BytesIO):
    """A kept file that is open for reading."""

    mode = "rb"

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name

    def writable(self) -> bool:
        return False

    def write(self, _content: Any) -> int:
        raise io.UnsupportedOperation("write")


class _Null(io.BytesIO):
    """Do what the file `os.devnull` does elsewhere."""

    name = os.devnull

    def write(self, content: Any) -> int:
        return memoryview(content).nbytes


def _as_asked(
    file: IO[bytes],
    mode: str,
    _buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **_options: Any,
) -> IO[Any]:
    """Return a file of bytes as `open` would: as text, unless the mode says otherwise."""
    return file if "b" in mode else io.TextIOWrapper(file, encoding, errors, newline)


class _Entry:
    """Describe a name, as `os.scandir` does."""

    def __init__(self, name: str, path: str, status: os.stat_result) -> None:
        self.name = name
        self.path = path
        self._status = status

    def __fspath__(self) -> str:
        return self.path

    def inode(self) -> int:
        return self._status.st_ino

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return stat.S_ISDIR(self._status.st_mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return stat.S_ISREG(self._status.st_mode)

    def is_symlink(self) -> bool:
        return False

    def is_junction(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self._status


class _Entries:
    """Iterate over entries, as what `os.scandir` returns does."""

    def __init__(self, entries: Iterator[_Entry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[_Entry]:
        return self._entries

    def __next__(self) -> _Entry:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


def _absolute(path: Any) -> str | None:
    """Return the path from the root; None for the number of an open file."""
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    return posixpath.normpath(posixpath.join("/", os.fsdecode(path)))
