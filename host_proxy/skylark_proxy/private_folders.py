"""Folders that only their owner may use, whatever the umask of the process is."""

import os
import stat
from pathlib import Path

from skylark_proxy.errors import ConfigError

UMASK = 0o077
"""That of servers: what they and their Redis write is for their user only."""


def make_private(folder: Path) -> None:
    """Makes a folder, and those above it that are missing, for their owner only. What is there stays as it is."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


def check_private(folder: Path, setting: str) -> None:
    """Check that nobody else can put files into a folder, or another folder into its place.

    Not looked at is the root of a file system that is mounted there, as a container's volume: it is the container's.

    Raises:
        ConfigError: Others can; the error names `setting`, the folder, and what to do.
    """
    whole = folder.resolve()
    for one in (whole, *whole.parents):
        reason = _open_to(one, inside=one in (whole, whole.parent))
        if reason is not None and not one.is_mount():
            expected = "a folder that nobody else can write to: compiled code from it runs natively"
            message = f"{setting}: {one} {reason}; expected {expected}. Empty it and make it private: chmod 700 {one}"
            raise ConfigError(setting, str(one), expected, message)


def _open_to(folder: Path, inside: bool) -> str | None:
    """Who else can change what is in a folder; None if nobody can."""
    status = folder.stat()
    sticky = status.st_mode & stat.S_ISVTX and not inside  # others cannot rename what is not theirs
    if status.st_mode & stat.S_IWOTH and not sticky:
        return "is writable for others"
    if inside and status.st_mode & stat.S_IWGRP and status.st_gid != os.getegid():
        return f"is writable for the group {status.st_gid}"
    if inside and os.geteuid() not in (0, status.st_uid) and status.st_uid != 0:
        return f"is of the user {status.st_uid}"
    return None
