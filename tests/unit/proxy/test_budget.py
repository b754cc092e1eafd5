"""The bytes that a node holds at once."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skylark_proxy.budget import Budget, hold_here, share_here
from skylark_proxy.errors import Overloaded
from skylark_proxy.memory_limit import memory_limit_bytes

MEGABYTE = 1 << 20


def test_what_is_held_is_given_back() -> None:
    """A share takes bytes while it is there, whatever ends it."""
    budget = Budget(10 * MEGABYTE)
    with contextlib.suppress(ValueError), budget.share() as share:
        share.add_blocking(3 * MEGABYTE)
        share.add_blocking(MEGABYTE)
        assert budget.used_bytes == 4 * MEGABYTE
        raise ValueError
    assert budget.used_bytes == 0


def test_two_that_wait_for_each_other_get_through() -> None:
    """Bodies that use the budget up in part: one of them may go beyond it, then the other has room."""
    budget, done = Budget(10 * MEGABYTE, wait_s=20.0), list[str]()

    async def upload(name: str) -> None:
        with budget.share() as share:
            for _ in range(8):
                await share.add(MEGABYTE)
                await asyncio.sleep(0)
        done.append(name)

    async def run() -> None:
        await asyncio.gather(*(upload(name) for name in "abcd"))

    asyncio.run(run())
    assert sorted(done) == ["a", "b", "c", "d"]
    assert budget.used_bytes == 0


def test_no_more_than_one_goes_beyond() -> None:
    """The bytes never exceed the budget by more than one body."""
    budget, most = Budget(10 * MEGABYTE, wait_s=20.0), 0

    def read() -> None:
        nonlocal most
        with budget.share() as share:
            for _ in range(8):
                share.add_blocking(MEGABYTE)
                most = max(most, budget.used_bytes)

    with ThreadPoolExecutor(16) as pool:
        for one in [pool.submit(read) for _ in range(64)]:
            one.result()
    assert budget.used_bytes == 0
    assert most <= 18 * MEGABYTE


def test_who_finds_no_room_is_refused() -> None:
    """After a wait, or at once where many wait already, with an error that a retry can help."""
    budget = Budget(MEGABYTE, wait_s=0.05)
    with budget.share() as first, budget.share() as second, budget.share() as third:
        first.add_blocking(MEGABYTE)
        second.add_blocking(MEGABYTE)
        with pytest.raises(Overloaded, match="2097152 bytes of bodies and answers are held") as raised:
            third.add_blocking(MEGABYTE)
        assert raised.value.retryable
        with pytest.raises(Overloaded):
            asyncio.run(third.add(MEGABYTE))
        none = Budget(MEGABYTE, wait_s=20.0, max_waiting=0)
        with none.share() as one, none.share() as other, none.share() as late:
            one.add_blocking(MEGABYTE)
            other.add_blocking(MEGABYTE)
            with pytest.raises(Overloaded):
                late.add_blocking(MEGABYTE)


def test_small_things_do_not_wait() -> None:
    """What is small is served also when large ones have taken all."""
    budget = Budget(MEGABYTE, wait_s=20.0)
    with budget.share() as first, budget.share() as second, budget.share() as third:
        first.add_blocking(MEGABYTE)
        second.add_blocking(MEGABYTE)
        third.add_blocking(60_000)
    assert budget.used_bytes == 0


def test_somebody_is_told_of_a_shortage() -> None:
    """Whoever lacks bytes has it told, so that stalled uploads give theirs back."""
    budget, told = Budget(MEGABYTE, wait_s=0.05), list[int]()
    with budget.share() as first, budget.share() as second, budget.share() as third:
        first.add_blocking(MEGABYTE)
        second.add_blocking(MEGABYTE)

        def give_back() -> None:
            told.append(1)
            first.hold(0)
            second.hold(0)

        budget.on_shortage = give_back
        third.add_blocking(MEGABYTE)
    assert told == [1]


def test_relief_after_much_is_told() -> None:
    """Once nothing is held any more after it was much, that is told, to give memory back; after little it is not."""
    told = list[int]()
    budget = Budget(1 << 30, on_relief=lambda: told.append(budget.used_bytes))
    for size_bytes in (MEGABYTE, 100 * MEGABYTE, MEGABYTE):
        with budget.share() as share:
            share.add_blocking(size_bytes)
    assert told == [0]


class TestReading:
    """Bytes for what is about to be read, of a size that is known only afterwards."""

    def test_the_size_is_not_asked_for_where_there_is_room(self) -> None:
        """With room for the most, nobody asks; afterwards the share holds what was read."""
        budget = Budget(10 * MEGABYTE)
        with budget.share() as share:
            with share.reading(4 * MEGABYTE, lambda: pytest.fail("asked")) as note:
                assert budget.used_bytes == 4 * MEGABYTE
                note(5)
            assert budget.used_bytes == 5

    def test_the_size_is_asked_for_where_there_is_little(self) -> None:
        """Without room for the most, there may be for what it really is."""
        budget = Budget(3 * MEGABYTE)
        with budget.share() as share, share.reading(4 * MEGABYTE, lambda: MEGABYTE) as note:
            assert budget.used_bytes == MEGABYTE
            note(MEGABYTE)

    def test_what_might_have_been_read_is_not_much(self) -> None:
        """Memory is given back after much was read, alone or beside others, and not after much was only booked."""
        told = list[int]()
        budget = Budget(1 << 30, on_relief=lambda: told.append(budget.used_bytes))
        for sizes in ([5], [5, 6], [5, 100 * MEGABYTE]):
            with contextlib.ExitStack() as reading:
                for size_bytes in sizes:
                    share = reading.enter_context(budget.share())
                    reading.enter_context(share.reading(128 * MEGABYTE, lambda: 0))(size_bytes)
            assert len(told) == (max(sizes) > MEGABYTE)

    def test_what_could_not_be_read_is_not_held(self) -> None:
        """An error leaves the share as it was."""
        budget = Budget(10 * MEGABYTE)
        with budget.share() as share:
            share.add_blocking(7)
            with contextlib.suppress(ValueError), share.reading(MEGABYTE, lambda: 0):
                raise ValueError
            assert budget.used_bytes == 7


def test_a_share_is_known_in_the_threads_of_its_task() -> None:
    """A request's share is found where its work is done, and only there."""
    budget = Budget(10 * MEGABYTE)

    async def serve(size_bytes: int) -> int:
        with budget.share_here() as share:
            await asyncio.to_thread(hold_here, size_bytes)
            return share.size_bytes

    async def run() -> list[int]:
        return list(await asyncio.gather(serve(5), serve(6)))

    assert asyncio.run(run()) == [5, 6]
    assert share_here() is None


class TestMemoryLimit:
    """How much memory there is, by the control groups that a process is in."""

    def test_of_version_2(self, tmp_path: Path) -> None:
        """The least of a group and of those around it counts; `max` is none."""
        (tmp_path / "groups").write_text("0::/outer/inner\n")
        inner = tmp_path / "fs" / "outer" / "inner"
        inner.mkdir(parents=True)
        (inner / "memory.max").write_text("max\n")
        (inner.parent / "memory.max").write_text("1000000\n")
        assert memory_limit_bytes(tmp_path / "groups", tmp_path / "fs") == 1_000_000

    def test_of_version_1(self, tmp_path: Path) -> None:
        """A path that only the host has does not matter: what is mounted in a container counts."""
        (tmp_path / "groups").write_text("5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n")
        (tmp_path / "fs" / "memory").mkdir(parents=True)
        (tmp_path / "fs" / "memory" / "memory.limit_in_bytes").write_text("2000000\n")
        assert memory_limit_bytes(tmp_path / "groups", tmp_path / "fs") == 2_000_000

    def test_without_groups(self, tmp_path: Path) -> None:
        """It is the machine's memory."""
        assert memory_limit_bytes(tmp_path / "none", tmp_path) > 100 * MEGABYTE
