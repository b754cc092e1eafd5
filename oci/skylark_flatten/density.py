"""Zeros that make a memory's data dense enough to be mapped.

wasmtime maps the data of a module into each instance, without a copy, only where at least half of what lies between its
first and last byte is data (or it is smaller than 16 MB). Else it copies every segment: 10 ms for one of Python.
"""

from collections.abc import Iterable

Extent = tuple[int, int]
"""The address of a first byte, and of the one after the last."""

_MARGIN_BYTES = 1 << 16


def zeros_between(data: Iterable[Extent]) -> list[Extent]:
    """Return those gaps to fill with zeros, the smallest first, that make half of it data."""
    gaps: list[Extent] = []
    filled, first, end = 0, None, 0
    for start, stop in sorted(data):
        if first is None:
            first = end = start
        if start > end:
            gaps.append((end, start))
        filled += max(0, stop - max(start, end))
        end = max(end, stop)
    missing = (end - (first or 0)) // 2 + _MARGIN_BYTES - filled
    chosen: list[Extent] = []
    for start, stop in sorted(gaps, key=lambda gap: gap[1] - gap[0]):
        if missing <= 0:
            break
        size = min(stop - start, missing)
        chosen.append((start, start + size))
        missing -= size
    return sorted(chosen)
