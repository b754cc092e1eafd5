"""Small file systems of the tests' own, for what happens when one is full."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_CAP_SYS_ADMIN = 21


@contextlib.contextmanager
def small_tmpfs(folder: Path, size_bytes: int, files: int = 1000) -> Iterator[Path]:
    """Mount a tmpfs of this size, for this many files, at a new folder. Skip the test where that is not allowed."""
    if not _may_mount():
        pytest.skip("only a process with CAP_SYS_ADMIN may mount file systems, such as root on Linux")
    place = folder / "tmpfs"
    place.mkdir()
    options = f"size={size_bytes},nr_inodes={files}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        reason = f"cannot mount a tmpfs: {mounted.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def _may_mount() -> bool:
    """True if this process has the capability that mounting takes (capabilities(7))."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> _CAP_SYS_ADMIN & 1)
