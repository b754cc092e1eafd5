"""Folders that only their owner may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylark_proxy.errors import ConfigError
from skylark_proxy.private_folders import check_private, make_private


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_folder_and_those_above_it_are_made_private(tmp_path: Path) -> None:
    """All that had to be made are for their owner only, whatever the umask; what was there stays as it was."""
    (tmp_path / "there").mkdir(mode=0o755)
    make_private(tmp_path / "there" / "a" / "b" / "c")
    make_private(tmp_path / "there" / "a" / "b" / "c")
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("there", "there/a", "there/a/b", "there/a/b/c")]
    assert modes == [0o755, 0o700, 0o700, 0o700]
    check_private(tmp_path / "there" / "a" / "b" / "c", "S")


@pytest.mark.parametrize("open_", ["", "a", "a/b"])
def test_a_folder_that_others_can_change_is_refused(tmp_path: Path, open_: str) -> None:
    """It counts for the folder and for all above it: who can swap a parent can swap the folder."""
    make_private(tmp_path / "top" / "a" / "b")
    (tmp_path / "top" / open_).chmod(0o777)
    with pytest.raises(ConfigError, match=r"^SETTING: \S+ is writable for others; expected .*chmod 700") as raised:
        check_private(tmp_path / "top" / "a" / "b", "SETTING")
    assert raised.value.value == str((tmp_path / "top" / open_).resolve())


def test_a_sticky_folder_far_above_is_no_danger(tmp_path: Path) -> None:
    """As in /tmp, others cannot rename there what is not theirs; the folder itself may not be such a one."""
    make_private(tmp_path / "top" / "a" / "b")
    (tmp_path / "top").chmod(0o1777)
    check_private(tmp_path / "top" / "a" / "b", "S")
    (tmp_path / "top" / "a").chmod(0o1777)
    with pytest.raises(ConfigError):
        check_private(tmp_path / "top" / "a" / "b", "S")


def test_a_link_is_followed(tmp_path: Path) -> None:
    """What counts is where the folder really is."""
    make_private(tmp_path / "open" / "real")
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "open" / "real")
    with pytest.raises(ConfigError, match="open is writable for others"):
        check_private(tmp_path / "link", "S")
