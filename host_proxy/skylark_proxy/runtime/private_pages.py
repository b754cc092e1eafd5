"""Which pages of a mapping are this process's own copies: those that were written since they were mapped.

Linux tells it in two ways: the call PAGEMAP_SCAN (6.7 and newer), and the file /proc/self/pagemap (its documentation:
`Documentation/admin-guide/mm/pagemap.rst`). Elsewhere there is none, and instances cannot be reset. Either is tried on
a mapping of our own before it is relied on, since a kernel may hide what it tells.
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Protocol

Range = tuple[int, int]
"""The addresses of a first byte, and of the one after the last."""

PAGE_BYTES = mmap.PAGESIZE
_PAGEMAP = "/proc/self/pagemap"


class PrivatePages(Protocol):
    """A way to find out. It may name pages that were only read; those that were written are never left out."""

    def ranges(self, start: int, end: int) -> list[Range]:
        """Return the private pages between two addresses, both at the beginning of a page."""


class _OwnPagemap:
    """The file of this process. What a parent has opened before a fork is about the parent's memory."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._descriptor = os.open(_PAGEMAP, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def _pagemap(self) -> int:
        if self._process != os.getpid():
            os.close(self._descriptor)
            _OwnPagemap.__init__(self)
        return self._descriptor


class PagemapScan(_OwnPagemap):
    """By the call PAGEMAP_SCAN, which passes over what is not there without looking at each page."""

    _CALL = 0xC0606610
    _ARGUMENTS = struct.Struct("=12Q")
    _FILE, _PRESENT, _SWAPPED, _ZERO = 1 << 2, 1 << 3, 1 << 4, 1 << 5
    _REGIONS = 4096

    def ranges(self, start: int, end: int) -> list[Range]:
        found: list[Range] = []
        regions = (ctypes.c_uint64 * (3 * self._REGIONS))()
        while start < end:
            arguments = bytearray(self._arguments(start, end, ctypes.addressof(regions)))
            count = fcntl.ioctl(self._pagemap, self._CALL, arguments)
            words = regions[: 3 * count]
            found += zip(words[0::3], words[1::3], strict=True)
            if count < self._REGIONS:
                break
            start = found[-1][1]  # where the kernel says that it stopped can be before what it has told already
        return found

    def _arguments(self, start: int, end: int, regions: int) -> bytes:
        """Ask for pages that are present or swapped out, and neither a file's nor the page of zeros."""
        shared, there = self._FILE | self._ZERO, self._PRESENT | self._SWAPPED
        room = (regions, self._REGIONS, 0)
        return self._ARGUMENTS.pack(self._ARGUMENTS.size, 0, start, end, 0, *room, shared, shared, there, self._PRESENT)


class Pagemap(_OwnPagemap):
    """By /proc/self/pagemap, which has a word for each page. It does not tell the page of zeros from a private one."""

    _WORD_BYTES = 8
    _CHUNK_PAGES = 1 << 16
    _PRESENT, _SWAPPED, _FILE = 1 << 63, 1 << 62, 1 << 61

    def ranges(self, start: int, end: int) -> list[Range]:
        return list(_joined(self._pages(start // PAGE_BYTES, end // PAGE_BYTES)))

    def _pages(self, first: int, end: int) -> Iterator[int]:
        for begin in range(first, end, self._CHUNK_PAGES):
            count = min(self._CHUNK_PAGES, end - begin)
            read = os.pread(self._pagemap, count * self._WORD_BYTES, begin * self._WORD_BYTES)
            if len(read) != count * self._WORD_BYTES:
                raise OSError(f"{_PAGEMAP} ends early")
            if not any(read):  # most of a memory was never touched
                continue
            for number, word in enumerate(memoryview(read).cast("Q")):
                if word & (self._PRESENT | self._SWAPPED) and not word & self._FILE:
                    yield begin + number


def _joined(pages: Iterable[int]) -> Iterator[Range]:
    begin = end = -1
    for page in pages:
        if page != end:
            if end >= 0:
                yield begin * PAGE_BYTES, end * PAGE_BYTES
            begin = page
        end = page + 1
    if end >= 0:
        yield begin * PAGE_BYTES, end * PAGE_BYTES


WAYS: tuple[Callable[[], PrivatePages], ...] = (PagemapScan, Pagemap)
"""The ways, the fastest one first."""


@cache
def find_way() -> PrivatePages | None:
    """Return the first way that works here; None if there is none."""
    for way in WAYS:
        with contextlib.suppress(OSError):
            made = way()
            if works(made):
                return made
    return None


def works(way: PrivatePages) -> bool:
    """True if a way finds the pages that were written, and not those that were only read, of a small mapping."""
    with _image(8) as file, mmap.mmap(file, 8 * PAGE_BYTES, mmap.MAP_PRIVATE) as mapping:
        held = ctypes.c_char.from_buffer(mapping)
        start = ctypes.addressof(held)
        for page in (1, 2, 6):
            mapping[page * PAGE_BYTES] = 1
        read = mapping[4 * PAGE_BYTES]
        found = way.ranges(start, start + 8 * PAGE_BYTES)
        del held
    expected = [(1, 3), (6, 7)]
    return read == 0 and found == [(start + begin * PAGE_BYTES, start + end * PAGE_BYTES) for begin, end in expected]


@contextlib.contextmanager
def _image(pages: int) -> Iterator[int]:
    file = os.memfd_create("skylark-probe", os.MFD_CLOEXEC)
    try:
        os.truncate(file, pages * PAGE_BYTES)
        yield file
    finally:
        os.close(file)
