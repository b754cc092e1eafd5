"""Memory that begins with an image is as it was at first after each reset, whatever was written, in each way."""

import ctypes
import mmap
import os
import random
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skylark_proxy.runtime import image as image_module
from skylark_proxy.runtime import private_pages
from skylark_proxy.runtime.image import Image, MappedMemory
from skylark_proxy.runtime.private_pages import PAGE_BYTES, PrivatePages

WASM_PAGE = 1 << 16
IMAGE_BYTES, MEMORY_BYTES = 8 * WASM_PAGE, 64 * WASM_PAGE


class Guest:
    """Memory as wasmtime gives it: anonymous, of which the first part is then the image's."""

    def __init__(self, pages: PrivatePages) -> None:
        self.mapping = mmap.mmap(-1, MEMORY_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        held = ctypes.c_char.from_buffer(self.mapping)
        self.view = memoryview(self.mapping)
        self.contents = random.Random(1).randbytes(IMAGE_BYTES // 2) + bytes(IMAGE_BYTES // 2)
        self.image = Image(memoryview(self.contents), pages)
        self.memory = MappedMemory(self.image, ctypes.addressof(held), self.view)
        del held

    def is_pristine(self) -> bool:
        return bytes(self.view) == self.contents + bytes(MEMORY_BYTES - IMAGE_BYTES)

    def call(self, writes: list[tuple[int, int]]) -> None:
        """A call that writes some bytes at some places."""
        self.memory.begin()
        for at, size in writes:
            size = min(size, MEMORY_BYTES - at)
            self.view[at : at + size] = b"\xa5" * size


@pytest.fixture(params=private_pages.WAYS)
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    make: Callable[[], PrivatePages] = request.param
    try:
        way = make()
    except OSError:
        pytest.skip(f"this kernel does not have {make.__name__}")
    made = Guest(way)
    yield made
    made.image.close()


WRITES = st.lists(st.tuples(st.integers(0, MEMORY_BYTES - 1), st.integers(1, 200_000)), max_size=20)


@given(calls=st.lists(WRITES, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_reset_undoes_every_write(guest: Guest, calls: list[list[tuple[int, int]]]) -> None:
    """In the image, beyond it and across its border, call after call."""
    assert guest.is_pristine()
    for writes in calls:
        guest.call(writes)
        guest.memory.reset()
        assert guest.is_pristine()


def test_a_call_like_the_one_before_needs_no_scan(guest: Guest) -> None:
    """Pages that are private already are known, and written back without asking the system."""
    writes = [(0, 10), (IMAGE_BYTES - 5, 10), (IMAGE_BYTES * 3, 100_000)]
    guest.call(writes)
    guest.memory.reset()
    for _ in range(50):
        guest.call(writes)
        guest.memory.reset()
        assert guest.is_pristine()
    assert guest.memory.scans < 50


def test_a_page_that_one_call_writes_for_the_first_time_is_found(guest: Guest) -> None:
    """However many calls before it wrote none but known ones."""
    for number in range(64):
        guest.call([(0, 1), (number * WASM_PAGE + 7, 1)])
        guest.memory.reset()
        assert guest.is_pristine()


def test_a_call_in_another_thread(guest: Guest) -> None:
    """Its faults are its own: the pages are looked for, whatever the counters of this thread say."""
    guest.call([(0, 1)])
    guest.memory.reset()
    guest.call([(0, 1)])
    thread = threading.Thread(target=lambda: guest.view.__setitem__(5 * WASM_PAGE, 9))
    thread.start()
    thread.join()
    ended = threading.Thread(target=guest.memory.reset)
    ended.start()
    ended.join()
    assert guest.is_pristine()


def test_much_memory_goes_back_to_the_kernel(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call wrote beyond what is kept is no longer the process's, and is the image's or zero again."""
    monkeypatch.setattr(image_module, "_KEPT_BYTES", 4 * WASM_PAGE)
    guest.call([(0, MEMORY_BYTES)])
    guest.memory.reset()
    assert guest.is_pristine()
    start = ctypes.addressof(ctypes.c_char.from_buffer(guest.mapping))
    kept = guest.image.pages.ranges(start, start + MEMORY_BYTES)
    assert sum(end - begin for begin, end in kept) < 16 * WASM_PAGE or type(guest.image.pages) is private_pages.Pagemap


def test_no_huge_pages_are_made_of_it(guest: Guest) -> None:
    """The kernel makes no page private that nobody has written to."""
    if not Path("/sys/kernel/mm/transparent_hugepage").is_dir():
        pytest.skip("this kernel makes no huge pages")
    start = ctypes.addressof(ctypes.c_char.from_buffer(guest.mapping))
    flags, inside = set[str](), False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = start <= int(found[1], 16) < start + MEMORY_BYTES
        elif inside and line.startswith("VmFlags:"):
            flags.add("nh" if " nh" in line else line)
    assert flags == {"nh"}


def test_the_image_is_shared(guest: Guest) -> None:
    """What one guest writes, another one with the same image does not see."""
    other = mmap.mmap(-1, MEMORY_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held = ctypes.c_char.from_buffer(other)
    view = memoryview(other)
    MappedMemory(guest.image, ctypes.addressof(held), view)
    del held
    guest.call([(0, IMAGE_BYTES)])
    assert bytes(view[:IMAGE_BYTES]) == guest.contents
    assert bytes(guest.image.view) == guest.contents


def test_holes_take_no_room(guest: Guest) -> None:
    """Zeros of the image are no pages of its file."""
    assert os.fstat(guest.image.file).st_blocks * 512 <= IMAGE_BYTES // 2 + 64 * PAGE_BYTES
