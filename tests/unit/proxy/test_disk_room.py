"""Room on a disk: what is refused, for whom the reserve is, and when the ballast is given up."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from skylark_proxy import disk_room
from skylark_proxy.disk_room import BALLAST, DiskRoom, reserve_bytes
from skylark_proxy.errors import StoreUnavailable

MIB = 1024 * 1024
TOTAL = 100 * MIB
RESERVE = 5 * MIB


class Disk:
    """A disk of which other programs leave some bytes free. The ballast is on it."""

    def __init__(self, folder: Path) -> None:
        self.left = TOTAL
        self.ballast = folder / BALLAST

    def free_and_total(self, _folder: Path) -> tuple[int, int]:
        return self.left - (self.ballast.stat().st_size if self.ballast.exists() else 0), TOTAL


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(tmp_path)
    monkeypatch.setattr(disk_room, "free_and_total", disk.free_and_total)
    return disk


@pytest.fixture
def room(tmp_path: Path, disk: Disk) -> DiskRoom:
    room = DiskRoom(tmp_path)
    room.check()
    assert disk.ballast.exists()
    return room


def is_refused(call: Callable[[], None]) -> bool:
    try:
        call()
    except StoreUnavailable as error:
        return error.full and error.retryable
    return False


@pytest.mark.parametrize(("total", "reserve"), [(10 * MIB, MIB // 2), (640 * MIB, 32 * MIB), (10**12, 32 * MIB)])
def test_the_reserve(total: int, reserve: int) -> None:
    """The reserve is a twentieth of a small disk, and 32 MiB of a large one."""
    assert reserve_bytes(total) == reserve


def test_a_bundle_has_to_leave_the_reserve(disk: Disk, room: DiskRoom) -> None:
    """A bundle that fits into what is above the reserve is taken, a larger one not; a delete may use the reserve."""
    disk.left = RESERVE + disk.ballast.stat().st_size + MIB
    assert not is_refused(lambda: room.check(MIB - 8192))
    assert is_refused(lambda: room.check(MIB + 8192))
    disk.left -= 2 * MIB
    assert is_refused(lambda: room.check(1))
    assert not is_refused(lambda: room.check(0))


def test_writes_under_way_count(disk: Disk, room: DiskRoom) -> None:
    """What is being written by others is not promised twice, and is free again when that has ended or failed."""
    disk.left = RESERVE + disk.ballast.stat().st_size + MIB
    with room.reserved(MIB // 2):
        assert is_refused(lambda: room.check(MIB // 2))
        assert not is_refused(lambda: room.check(MIB // 4))
    with contextlib.suppress(OSError), room.reserved(MIB // 2):
        raise OSError
    assert not is_refused(lambda: room.check(MIB - 8192))


def test_the_ballast(disk: Disk, room: DiskRoom) -> None:
    """The ballast goes when there is nearly no room, so that deletes have some, and is made again once there is."""
    disk.left = disk.ballast.stat().st_size
    assert not is_refused(lambda: room.check(0))
    assert not disk.ballast.exists()
    assert is_refused(lambda: room.check(1))
    disk.left = 1000
    assert is_refused(lambda: room.check(0))
    disk.left = TOTAL
    assert not is_refused(lambda: room.check(1))
    assert disk.ballast.exists()


def test_room_is_made(tmp_path: Path, disk: Disk) -> None:
    """Each refusal asks for room, and what is taken does not."""
    asked: list[int] = []
    room = DiskRoom(tmp_path, lambda: asked.append(disk.left))
    room.check()
    assert not asked
    disk.left = 2 * MIB
    assert is_refused(room.check)
    assert asked == [2 * MIB]


def test_the_log_says_it_once(disk: Disk, room: DiskRoom, caplog: pytest.LogCaptureFixture) -> None:
    """The log has one line when the disk becomes full, not one for each refusal."""
    disk.left = 2 * MIB
    assert all(is_refused(room.check) for _ in range(5))
    assert caplog.text.count("is full") == 1
