"""The image of an instance: its memory and globals at one moment, which others begin with and are reset to.

The memory lies in a file in memory, of which every instance has a private mapping: what no call has written is shared
by all. A reset writes back the pages that a call has made private, and sets the globals; nothing else of an instance
can change (see `skylark_flatten.resettable`).

Most calls write the pages that the one before wrote, and none besides. A page becomes private by a page fault of the
thread that writes. So where the thread's counters of faults have not moved since the call began, the pages are known.
"""

import ctypes
import mmap
import os
import threading
from collections.abc import Iterator, Sequence

from skylark_proxy.runtime import capi
from skylark_proxy.runtime.immortal import make_immortal
from skylark_proxy.runtime.private_pages import PAGE_BYTES, PrivatePages, Range, find_way

_KEPT_BYTES = 16 << 20
"""How much of its own an instance keeps between calls; what is above goes back to the kernel."""

_RUSAGE_THREAD = 1
_MINOR_FAULTS, _MAJOR_FAULTS = 8, 9  # words of `struct rusage`, after two times of two words each
_MAP_FAILED = (1 << 8 * ctypes.sizeof(ctypes.c_void_p)) - 1
_MAP_FIXED = 0x10
_MADV_DONTNEED, _MADV_NOHUGEPAGE = 4, 15


class Image:
    """What instances begin with: the first bytes of their memory. All that follows is zero.

    Args:
        memory: The memory; its length is a multiple of WebAssembly's pages, and so of the system's.
        pages: How to find out what a call has written.
        immortal: The addresses of objects to make immortal in the image.
    """

    def __init__(self, memory: memoryview, pages: PrivatePages, immortal: bytes = b"") -> None:
        self.size = len(memory)
        self.pages = pages
        self.file = os.memfd_create("skylark-image", os.MFD_CLOEXEC)
        os.truncate(self.file, self.size)
        for start, end in _filled(memory):  # holes take no room
            os.pwrite(self.file, memory[start:end], start)
        with mmap.mmap(self.file, self.size, mmap.MAP_SHARED) as mapping, memoryview(mapping) as view:
            make_immortal(view, immortal)
        self._mapping = mmap.mmap(self.file, self.size, mmap.MAP_SHARED, mmap.PROT_READ)
        self.view = memoryview(self._mapping)

    @classmethod
    def of(cls, memory: memoryview, immortal: bytes = b"") -> "Image | None":
        """Make the image of a memory; None where the system cannot reset instances to it."""
        pages = find_way() if hasattr(os, "memfd_create") else None
        return cls(memory, pages, immortal) if pages is not None else None

    def map_at(self, address: int) -> None:
        """Put a private mapping in place of the beginning of an instance's memory.

        Raises:
            OSError: The system has no memory or address space left.
        """
        protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _MAP_FIXED
        if capi.mmap(address, self.size, protection, flags, self.file, 0) == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), "an instance's memory cannot be mapped")

    def close(self) -> None:
        """Free the image. Instances that have it may go on, and cannot be reset any more."""
        self.view.release()
        self._mapping.close()
        os.close(self.file)


def _filled(memory: memoryview) -> Iterator[Range]:
    """The ranges of pages that have anything but zeros."""
    begin, zeros = None, bytes(PAGE_BYTES)
    for at in range(0, len(memory), PAGE_BYTES):
        if bytes(memory[at : at + PAGE_BYTES]) != zeros:  # views are compared number by number
            begin = at if begin is None else begin
        elif begin is not None:
            yield begin, at
            begin = None
    if begin is not None:
        yield begin, len(memory)


class MappedMemory:
    """The memory of one instance that begins with an image.

    Args:
        image: The image.
        address: Where the instance's memory is.
        view: All of it.
    """

    def __init__(self, image: Image, address: int, view: memoryview) -> None:
        image.map_at(address)
        # The kernel would make huge pages of small ones by itself: private ones, which no fault tells of. Where it has
        # no huge pages it refuses.
        capi.madvise(address, len(view), _MADV_NOHUGEPAGE)
        self._image = image
        self._address = address
        self._view = view
        self._copied: list[slice] = []
        self._zeroed: list[slice] = []
        self._dropped: list[Range] = []
        self._clean: tuple[int, int] | None = None  # thread and its faults as a call began, if the pages are known
        self._known = False
        self.scans = 0

    def begin(self) -> None:
        """Begin a call; only this thread may write to the memory, until it is reset."""
        self._clean = (threading.get_ident(), _faults()) if self._known else None

    def distrust(self) -> None:
        """Look for what was written in this call, since other threads may write too."""
        self._clean = None

    def reset(self) -> None:
        """Make the memory as it was at first.

        Raises:
            OSError: What was written cannot be found out; the instance must not be used again.
        """
        if self._clean is None or self._clean != (threading.get_ident(), _faults()):
            self._plan(self._image.pages.ranges(self._address, self._address + len(self._view)))
        for start, end in self._dropped:
            # A private page that is dropped is that of the image again, or zero.
            if capi.madvise(start, end - start, _MADV_DONTNEED):
                raise OSError(ctypes.get_errno(), "an instance's memory cannot be given back")
        self._dropped = []
        view, image = self._view, self._image.view
        for part in self._copied:
            view[part] = image[part]
        for part in self._zeroed:
            view[part] = bytes(part.stop - part.start)

    def _plan(self, ranges: Sequence[Range]) -> None:
        """Sort what is private: pages to copy from the image, to fill with zeros, and to drop."""
        self.scans += 1
        self._copied, self._zeroed, self._dropped, kept = [], [], [], 0
        for start, end in ranges:
            kept += end - start
            if kept > _KEPT_BYTES:
                self._dropped.append((start, end))
                continue
            first, last, border = start - self._address, end - self._address, self._image.size
            if first < border:
                self._copied.append(slice(first, min(last, border)))
            if last > border:
                self._zeroed.append(slice(max(first, border), last))
        self._known = True


class _Usage(threading.local):
    """Where the system writes what this thread has used."""

    def __init__(self) -> None:
        self.words = (ctypes.c_long * 18)()
        self.address = ctypes.addressof(self.words)


_USAGE = _Usage()


def _faults() -> int:
    usage = _USAGE
    capi.getrusage(_RUSAGE_THREAD, usage.address)
    return int(usage.words[_MINOR_FAULTS] + usage.words[_MAJOR_FAULTS])
