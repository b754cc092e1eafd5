"""The host's end of the exchange directory: whatever the guest does in it, the host reads plain files only."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from mounts import small_tmpfs
from skylark.exchange import INLINE_LIMIT_BYTES
from skylark.wire import Buffer
from skylark_proxy.api.parameters import body_or_file
from skylark_proxy.errors import InvalidArgument, StoreUnavailable, TooLarge
from skylark_proxy.runtime.exchange import ExchangeDirectory, default_root
from skylark_proxy.runtime.values import Case

QUOTA = 1 << 20


@pytest.fixture(autouse=True)
def fresh_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the open files is a scan of its own."""
    monkeypatch.setattr("skylark_proxy.runtime.descriptors.SCAN_EVERY_S", 0.0)


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[ExchangeDirectory]:
    directory = ExchangeDirectory(tmp_path, QUOTA)
    yield directory
    directory.close()
    assert list(tmp_path.iterdir()) == []


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@given(sizes=st.lists(st.sampled_from([0, 1, 1000, 16_383, 16_384, 16_385, 100_000]), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_sent_can_be_received(exchange: ExchangeDirectory, sizes: list[int]) -> None:
    """Parts of any size arrive as one content; up to 16 kB as text, more as a file."""
    parts: list[Buffer] = [
        bytes([number, 255 - number]) * (size // 2) + b"x" * (size % 2) for number, size in enumerate(sizes)
    ]
    payload = exchange.send("f", parts)
    assert bytes(exchange.receive(payload)) == b"".join(parts)
    assert payload.name == ("inline" if sum(sizes) <= INLINE_LIMIT_BYTES else "file")


def test_more_parts_than_one_system_call_takes(exchange: ExchangeDirectory) -> None:
    """A bundle of thousands of fields is written whole, empty ones among them."""
    parts: list[Buffer] = [str(number).encode() * (number % 7) for number in range(5000)]
    assert bytes(exchange.receive(exchange.send("f", parts))) == b"".join(parts)


def test_a_folder_is_private_and_its_own(tmp_path: Path) -> None:
    """Two sandboxes have two folders, which no other user can read; what the owner closes is gone."""
    one, other = ExchangeDirectory(tmp_path, QUOTA), ExchangeDirectory(tmp_path, QUOTA)
    assert one.path != other.path
    assert one.path.stat().st_mode & 0o077 == 0
    one.close()
    assert list(tmp_path.iterdir()) == [other.path]
    other.close()


def test_files_are_private(exchange: ExchangeDirectory) -> None:
    """Other users of the machine cannot read contents."""
    exchange.send("f", [bytes(20_000)])
    assert (exchange.path / "f").stat().st_mode & 0o077 == 0


def test_a_file_is_adopted_without_a_copy(exchange: ExchangeDirectory, tmp_path: Path) -> None:
    """A request body that lies in a file already moves in: same inode, and the old name is gone."""
    body = tmp_path / "body"
    body.write_bytes(b"abc")
    inode = body.stat().st_ino
    assert exchange.adopt("request", body) == Case("file", "request")
    assert (exchange.path / "request").stat().st_ino == inode
    assert not body.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../f", "/etc/passwd", "d/f", "f/", "f\0", "\0", "x" * 300])
def test_only_plain_names_are_opened(exchange: ExchangeDirectory, name: str) -> None:
    """A path, an empty or over-long name, or one with a NUL, is not valid, wherever it might lead."""
    (exchange.path / "d").mkdir()
    (exchange.path / "d" / "f").write_bytes(b"x")
    (exchange.path / "f").write_bytes(b"x")
    with pytest.raises(InvalidArgument, match=r"^payload\.file: "):
        exchange.receive(Case("file", name))


def test_a_link_is_not_followed(exchange: ExchangeDirectory, tmp_path: Path) -> None:
    """A symbolic link is refused, out of the folder as within it."""
    (tmp_path / "secret").write_bytes(b"secret")
    (exchange.path / "inside").write_bytes(b"x")
    (exchange.path / "out").symlink_to(tmp_path / "secret")
    (exchange.path / "in").symlink_to("inside")
    for name in ("out", "in"):
        with pytest.raises(InvalidArgument, match="symbolic links"):
            exchange.receive(Case("file", name))
    (tmp_path / "secret").unlink()


def test_what_is_not_a_file_is_refused_and_closed(exchange: ExchangeDirectory, tmp_path: Path) -> None:
    """A folder, a named pipe that nobody writes to and a socket are refused at once, and cost no descriptor."""
    (exchange.path / "folder").mkdir()
    os.mkfifo(exchange.path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(exchange.path / "socket"))
        before = descriptors()
        for _ in range(10):
            for name in ("folder", "pipe", "socket"):
                with pytest.raises(InvalidArgument):
                    exchange.receive(Case("file", name))
        assert descriptors() == before


def test_a_missing_file_is_refused(exchange: ExchangeDirectory) -> None:
    """The guest named what it has not written."""
    with pytest.raises(InvalidArgument, match="No such file"):
        exchange.receive(Case("file", "f"))


@pytest.mark.parametrize("text", ["Ā", "∞", "abc\U0001f525"])
def test_text_that_is_no_bytes_is_refused(exchange: ExchangeDirectory, text: str) -> None:
    """Inline contents have one character for each byte."""
    with pytest.raises(InvalidArgument, match=r"^payload\.inline: .*below U\+0100"):
        exchange.receive(Case("inline", text))


def test_a_size_is_checked_before_memory_is_taken(exchange: ExchangeDirectory) -> None:
    """A sparse file of 1 TB takes no room in the folder, and is not to take any in the proxy."""
    with (exchange.path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert not exchange.over_quota()
    with pytest.raises(TooLarge) as raised:
        exchange.receive(Case("file", "sparse"))
    assert (raised.value.size_bytes, raised.value.limit_bytes) == (1 << 40, QUOTA)


def test_what_the_host_sends_counts_too(exchange: ExchangeDirectory) -> None:
    """A bundle or body beyond the quota is not written."""
    with pytest.raises(TooLarge):
        exchange.send("f", [bytes(QUOTA), b"1"])
    assert list(exchange.path.iterdir()) == []


@pytest.mark.parametrize("obstacle", ["folder", "link"])
def test_the_guest_cannot_lead_the_host_to_write_elsewhere(
    exchange: ExchangeDirectory, tmp_path: Path, obstacle: str
) -> None:
    """Where the guest has put a folder or a link in place of the host's file, nothing is written."""
    target = tmp_path / "target"
    target.write_bytes(b"before")
    if obstacle == "folder":
        (exchange.path / "bundle.in").mkdir()
    else:
        (exchange.path / "bundle.in").symlink_to(target)
    with pytest.raises(InvalidArgument, match=r"exchange file: 'bundle\.in' is not valid"):
        exchange.send("bundle.in", [bytes(20_000)])
    assert target.read_bytes() == b"before"
    target.unlink()


def test_the_quota_is_on_the_room_that_files_take(exchange: ExchangeDirectory) -> None:
    """Files in folders of any depth count; just below the quota is allowed."""
    deep = exchange.path / "a" / "b"
    deep.mkdir(parents=True)
    (exchange.path / "f").write_bytes(bytes(QUOTA // 2))
    assert not exchange.over_quota()
    (deep / "f").write_bytes(bytes(QUOTA // 2 + 1))
    assert exchange.over_quota()


def test_a_deleted_file_counts_while_it_is_open(exchange: ExchangeDirectory) -> None:
    """A file without a name still takes its room, until it is closed."""
    with (exchange.path / "f").open("wb", buffering=0) as file:
        (exchange.path / "f").unlink()
        file.write(bytes(QUOTA + 1))
        assert exchange.over_quota()
    assert not exchange.over_quota()


def test_a_deleted_file_counts_below_a_link_to_the_root(tmp_path: Path) -> None:
    """The kernel names open files by their real path: a root that is reached over a link does not hide them."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    exchange = ExchangeDirectory(tmp_path / "link", QUOTA)
    with (exchange.path / "f").open("wb", buffering=0) as file:
        (exchange.path / "f").unlink()
        file.write(bytes(QUOTA + 1))
        assert exchange.over_quota()
    exchange.close()


def test_many_files_are_over_the_quota(exchange: ExchangeDirectory) -> None:
    """Empty files take no room and still cost the host: some thousands are the limit."""
    for number in range(4000):
        os.mknod(exchange.path / str(number))
    assert not exchange.over_quota()
    for number in range(4000, 4200):
        os.mknod(exchange.path / str(number))
    assert exchange.over_quota()


def test_many_open_files_are_over_the_quota(exchange: ExchangeDirectory) -> None:
    """One file that is opened again and again would take the proxy's last descriptor: some hundreds are the limit."""
    (exchange.path / "f").touch()
    opened: list[int] = []
    try:
        opened += [os.open(exchange.path / "f", os.O_RDONLY) for _ in range(200)]
        assert not exchange.over_quota()
        opened += [os.open(exchange.path / "f", os.O_RDONLY) for _ in range(100)]
        assert exchange.over_quota()
    finally:
        for fd in opened:
            os.close(fd)
    assert not exchange.over_quota()


def make_deep(folder: Path, depth: int) -> None:
    """Nested folders, deeper than any path is long; made from the inside, as a guest can."""
    home = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    try:
        for _ in range(depth):
            Path("d" * 100).mkdir()
            os.chdir("d" * 100)
        Path("f").write_bytes(b"x")
    finally:
        os.fchdir(home)
        os.close(home)


@pytest.mark.parametrize("how", ["clear", "close"])
def test_folders_of_any_depth_are_removed(exchange: ExchangeDirectory, how: str) -> None:
    """1,200 nested folders take neither a path, nor the stack, nor the descriptors of the proxy beyond their limits."""
    make_deep(exchange.path, 1200)
    (exchange.path / "link").symlink_to("/")
    before = descriptors()
    getattr(exchange, how)()
    assert descriptors() == before
    assert (list(exchange.path.iterdir()) if how == "clear" else exchange.path.exists()) in ([], False)


def test_a_link_to_a_folder_is_removed_and_not_followed(exchange: ExchangeDirectory, tmp_path: Path) -> None:
    """What a link points to stays as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (exchange.path / "link").symlink_to(outside)
    (exchange.path / "d").mkdir()
    (exchange.path / "d" / "link").symlink_to(outside)
    exchange.clear()
    assert list(exchange.path.iterdir()) == []
    (outside / "kept").unlink()
    outside.rmdir()


def test_a_cleared_folder_serves_again(exchange: ExchangeDirectory) -> None:
    """A sandbox that is used again finds an empty folder at the same place."""
    exchange.send("f", [bytes(20_000)])
    (exchange.path / "d").mkdir()
    (exchange.path / "d" / "f").touch()
    exchange.clear()
    assert list(exchange.path.iterdir()) == []
    assert bytes(exchange.receive(exchange.send("f", [b"x" * 20_000]))) == b"x" * 20_000


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    """Whoever cleans up need not know whether somebody did so before."""
    directory = ExchangeDirectory(tmp_path, QUOTA)
    directory.close()
    directory.close()
    assert list(tmp_path.iterdir()) == []


class TestFullFileSystem:
    def test_contents_that_do_not_fit(self, tmp_path: Path) -> None:
        """The error says where there is no room, a caller may try again, and smaller contents still arrive."""
        with small_tmpfs(tmp_path, QUOTA // 2) as root:
            exchange = ExchangeDirectory(root, QUOTA)
            with pytest.raises(
                StoreUnavailable, match=rf"no room for {QUOTA} bytes of 'f': .* {root} is full"
            ) as raised:
                exchange.send("f", [bytes(QUOTA)])
            assert raised.value.retryable
            assert bytes(exchange.receive(exchange.send("f", [b"x" * 20_000]))) == b"x" * 20_000
            exchange.close()
            assert list(root.iterdir()) == []

    def test_no_more_files(self, tmp_path: Path) -> None:
        """Where the file system takes no further file or folder, it is the same error."""
        with small_tmpfs(tmp_path, QUOTA, files=3) as root:
            exchange = ExchangeDirectory(root, QUOTA)
            exchange.send("one", [bytes(20_000)])
            with pytest.raises(StoreUnavailable, match="no room for 20000 bytes of 'two'"):
                exchange.send("two", [bytes(20_000)])
            with pytest.raises(StoreUnavailable, match="no room for one more sandbox"):
                ExchangeDirectory(root, QUOTA)
            exchange.close()

    def test_a_request_whose_body_does_not_fit(self, tmp_path: Path) -> None:
        """A large body that the proxy would keep there is refused in the same way, and nothing of it is left."""
        chunks = [bytes(1 << 16)] * 32

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": chunks.pop(), "more_body": bool(chunks)}

        with small_tmpfs(tmp_path, QUOTA) as root:
            request = Request({"type": "http", "headers": []}, receive)
            with pytest.raises(StoreUnavailable, match="no room for the request's body"):
                asyncio.run(body_or_file(request, 1 << 30, root))
            assert list(root.iterdir()) == []


def test_the_default_root_is_in_memory_where_there_is_such_a_place() -> None:
    """On Linux contents cross in memory and never touch a disk."""
    assert default_root() == Path("/dev/shm")
