"""Which server may open a data folder."""

from pathlib import Path

import pytest

from skylark_proxy.data_folder import choose, note, read_writer
from skylark_proxy.errors import ConfigError
from skylark_proxy.redis_binary import Origin, Server, parse_version


def server(engine: str, version: str, origin: Origin = Origin.PATH) -> Server:
    return Server(Path(f"/{origin}/{engine}-{version}"), origin, engine, parse_version(version))


def written_by(folder: Path, engine: str, version: str, noted: Origin | None = Origin.PATH) -> Path:
    """A folder as a server leaves it: with the note, or as it was before there was one."""
    name = b"%b-ver" % engine.lower().encode()
    magic = b"VALKEY080" if engine == "Valkey" else b"REDIS0010"
    base = folder / "appendonlydir" / "appendonly.aof.1.base.rdb"
    base.parent.mkdir(parents=True)
    base.write_bytes(magic + b"\xfa%c%b%c%b\xfa" % (len(name), name, len(version), version.encode()))
    if noted is not None:
        note(server(engine, version, noted), folder)
    return folder


def test_a_new_folder_gets_the_first_server(tmp_path: Path) -> None:
    """Without data the preferred server is taken."""
    servers = [server("Redis", "7.0.15"), server("Valkey", "9.1.2", Origin.WHEEL)]
    assert choose(servers, tmp_path) is servers[0]
    assert choose(servers[::-1], tmp_path) is servers[1]


@pytest.mark.parametrize("noted", [Origin.WHEEL, None])
def test_the_server_that_has_the_folder_stays(tmp_path: Path, noted: Origin | None) -> None:
    """Another server that comes first on this machine does not get the data of the one that wrote them."""
    folder = written_by(tmp_path, "Valkey", "9.1.2", noted)
    servers = [server("Redis", "8.0.0"), server("Valkey", "9.1.2", Origin.WHEEL)]
    assert choose(servers, folder) is servers[1]


def test_of_two_that_fit_the_one_from_the_same_place(tmp_path: Path) -> None:
    """A folder of the wheel's server stays with the wheel, and one of PATH's with PATH."""
    servers = [server("Valkey", "9.2.0"), server("Valkey", "9.1.2", Origin.WHEEL)]
    assert choose(servers, written_by(tmp_path / "a", "Valkey", "9.1.2", Origin.WHEEL)) is servers[1]
    assert choose(servers, written_by(tmp_path / "b", "Valkey", "9.1.2", Origin.PATH)) is servers[0]


def test_a_newer_version_takes_over_and_is_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An upgrade is taken, the log says so, and the version before is then refused."""
    caplog.set_level("INFO")
    folder = written_by(tmp_path, "Redis", "7.0.15")
    newer = server("Redis", "7.2.0")
    assert choose([newer], folder) is newer
    assert "7.0.15" in caplog.text
    assert "7.2" in caplog.text
    note(newer, folder)
    with pytest.raises(ConfigError, match=r"written by Redis 7\.2,.*Install Redis version 7\.2 or newer"):
        choose([server("Redis", "7.0.15")], folder)


@pytest.mark.parametrize(
    ("engine", "version", "noted", "found"),
    [
        ("Redis", "7.0.15", Origin.PATH, server("Redis", "6.2.14")),
        ("Redis", "7.0.15", None, server("Redis", "6.2.14")),
        ("Redis", "7.0.15", None, server("Redis", "7.0.14")),
        ("Redis", "7.0.15", Origin.PATH, server("Valkey", "9.1.2")),
        ("Redis", "7.4.0", None, server("Valkey", "9.1.2")),
        ("Redis", "8.0.1", Origin.PATH, server("Valkey", "9.1.2")),
        ("Valkey", "9.1.2", Origin.WHEEL, server("Redis", "8.0.0")),
        ("Valkey", "9.1.2", None, server("Redis", "8.0.0")),
        ("Valkey", "9.1.2", None, server("Valkey", "8.1.0")),
        ("KeyDB", "6.3.4", Origin.PATH, server("Valkey", "9.1.2")),
    ],
)
def test_what_may_not_open_the_data_is_refused(
    tmp_path: Path, engine: str, version: str, noted: Origin | None, found: Server
) -> None:
    """An older version, or another engine, is refused, with what wrote the data, what is here, and what to do."""
    folder = written_by(tmp_path, engine, version, noted)
    with pytest.raises(ConfigError) as caught:
        choose([found], folder)
    for part in (str(folder), engine, version.removesuffix(".0"), str(found), "Install", "SKYLARK_DATA_DIR"):
        assert part in str(caught.value)
    assert ("server.json" in str(caught.value)) == (version == "7.0.15" and found.engine == "Valkey")


def test_moving_is_the_owners_decision(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the note, Valkey takes over what Redis up to 7.2 has written, with a warning."""
    valkey = server("Valkey", "9.1.2", Origin.WHEEL)
    assert choose([valkey], written_by(tmp_path, "Redis", "7.2.4", None)) is valkey
    assert "no way back" in caplog.text


def test_data_from_before_redis_7(tmp_path: Path) -> None:
    """A single append-only file without a version in it may be opened by each server."""
    (tmp_path / "appendonly.aof").write_bytes(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")
    for one in (server("Redis", "6.2.14"), server("Redis", "7.0.15"), server("Valkey", "9.1.2")):
        assert choose([one], tmp_path) is one


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"engine": 1}', b'{"engine": "Redis", "version": "x"}'])
def test_a_note_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    """The data themselves say what has written them then."""
    folder = written_by(tmp_path, "Redis", "7.0.15")
    (folder / "server.json").write_bytes(content)
    writer = read_writer(folder)
    assert writer is not None
    assert (writer.engine, writer.version, writer.noted) == ("Redis", (7, 0, 15), False)


def test_a_folder_whose_files_say_nothing(tmp_path: Path) -> None:
    """Several files are of Redis 7 at least, whatever is in them."""
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(b"REDIS")
    with pytest.raises(ConfigError, match="version 7 or newer"):
        choose([server("Redis", "6.2.14")], tmp_path)
