"""How much memory this process may use: the machine's, or less in a control group, as containers are."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def memory_limit_bytes(groups: Path = _GROUPS, root: Path = _ROOT) -> int:
    """Return the least of the machine's memory and the limits of all control groups that this process is in.

    Args:
        groups: The file that says which these are (Linux: cgroups(7)); elsewhere there is none.
        root: Where control groups are mounted, those of version 1 in a folder for each controller.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min((machine, *_limits(groups, root)))


def _limits(groups: Path, root: Path) -> Iterator[int]:
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _upwards(root, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _upwards(root / "memory", path, "memory.limit_in_bytes")


def _upwards(mount: Path, path: str, file: str) -> Iterator[int]:
    """The limits of a group and of those that it is in. In a container the path may be one that only the host has."""
    folder = mount / path.lstrip("/")
    for group in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):
            yield int((group / file).read_text())  # version 2 says "max" where there is no limit
        if group == mount:
            return
