"""What was written in a mapping is found, in each way that the system has, and what was not tried is not relied on."""

import contextlib
import ctypes
import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from skylark_proxy.runtime import private_pages
from skylark_proxy.runtime.private_pages import PAGE_BYTES, PrivatePages, Range, find_way

PAGES = 20_000


def way_or_skip(make: Callable[[], PrivatePages]) -> PrivatePages:
    """The way, where this kernel has it."""
    with contextlib.suppress(OSError):
        way = make()
        if private_pages.works(way):
            return way
    pytest.skip(f"this kernel does not have {make.__name__}")


@contextlib.contextmanager
def mapping(pages: int) -> Iterator[tuple[mmap.mmap, int]]:
    """A private mapping of a file in memory, and its address."""
    file = os.memfd_create("test")
    os.truncate(file, pages * PAGE_BYTES)
    with mmap.mmap(file, pages * PAGE_BYTES, mmap.MAP_PRIVATE) as mapped:
        held = ctypes.c_char.from_buffer(mapped)
        yield mapped, ctypes.addressof(held)
        del held
    os.close(file)


def pages_of(ranges: list[Range], start: int) -> list[int]:
    """The numbers of the pages of some ranges."""
    return [page for begin, end in ranges for page in range((begin - start) // PAGE_BYTES, (end - start) // PAGE_BYTES)]


@pytest.mark.parametrize("make", private_pages.WAYS)
def test_each_written_page_is_found(make: Callable[[], PrivatePages]) -> None:
    """Also where every other page of many was written, which is more than one answer of the system holds."""
    way = way_or_skip(make)
    with mapping(PAGES) as (mapped, start):
        end = start + PAGES * PAGE_BYTES
        assert way.ranges(start, end) == []
        written = [0, 1, 2, *range(100, PAGES - 1, 2), PAGES - 1]
        for page in written:
            mapped[page * PAGE_BYTES + page % PAGE_BYTES] = 1
        assert pages_of(way.ranges(start, end), start) == written
        assert pages_of(way.ranges(start + 2 * PAGE_BYTES, start + 103 * PAGE_BYTES), start) == [2, 100, 102]


@pytest.mark.parametrize("make", private_pages.WAYS)
def test_a_page_that_is_dropped_is_not_private(make: Callable[[], PrivatePages]) -> None:
    """What is given back to the kernel is the file's again."""
    way = way_or_skip(make)
    with mapping(4) as (mapped, start):
        mapped[0] = mapped[3 * PAGE_BYTES] = 1
        mapped.madvise(mmap.MADV_DONTNEED, 0, PAGE_BYTES)
        assert way.ranges(start, start + 4 * PAGE_BYTES) == [(start + 3 * PAGE_BYTES, start + 4 * PAGE_BYTES)]


FORKED = """
import os
from skylark_proxy.runtime import private_pages
ways = [make() for make in private_pages.WAYS if private_pages.works(make())]
child = os.fork()
if not child:
    os._exit(0 if ways and all(map(private_pages.works, ways)) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_looks_at_its_own_pages() -> None:
    """What its parent opened before the fork would tell of the parent."""
    assert subprocess.run([sys.executable, "-c", FORKED], check=False).returncode == 0


class Silent:
    """A kernel that tells of no page."""

    def ranges(self, start: int, end: int) -> list[Range]:
        return []


class Absent:
    """A kernel that has no such thing."""

    def __init__(self) -> None:
        raise OSError("not here")

    def ranges(self, start: int, end: int) -> list[Range]:
        raise NotImplementedError


class Talkative:
    """A kernel that names all pages: one cannot tell what was written, but nothing is left out."""

    def ranges(self, start: int, end: int) -> list[Range]:
        return [(start, end)]


def test_the_first_way_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that the kernel lacks, or in which it keeps silent, is passed over; without any there is none."""
    real = find_way()
    for ways, expected in (
        ((Absent, Silent, type(real)), type(real)),
        ((Silent, Absent), type(None)),
        ((Talkative,), type(None)),
        ((), type(None)),
    ):
        find_way.cache_clear()
        monkeypatch.setattr(private_pages, "WAYS", ways)
        assert type(find_way()) is expected
    find_way.cache_clear()


def test_pages_are_of_the_systems_size() -> None:
    """Nothing assumes 4 kB: some systems have pages of 16 or 64 kB."""
    assert os.sysconf("SC_PAGE_SIZE") == PAGE_BYTES
    assert (1 << 16) % PAGE_BYTES == 0
