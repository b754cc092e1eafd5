"""The scan for damage in an append-only file: whatever is damaged, all that is whole stays, and nothing half."""

import json

from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.aof_commands import parse
from skylark_proxy.aof_scan import Scan, scan

STAGING = b"skylark:staging:{c}"
FAKE = b"\r\n*1\r\n$8\r\nFLUSHALL\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\nx\r\n*1\r\n$4\r\nEXEC"
"""The content of a bundle that looks like commands."""


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def transaction(*commands: bytes) -> bytes:
    return command(b"MULTI") + b"".join(commands) + command(b"EXEC")


def commit(task: str, **fields: bytes) -> bytes:
    """What Redis writes when a bundle is stored."""
    meta = json.dumps({"crc32": 0, "sizes": {name: len(value) for name, value in fields.items()}}).encode()
    flat = (part for name, value in fields.items() for part in (name.encode(), value))
    bundle = b"skylark:bundle:{c}:sat-1:%s" % task.encode()
    return transaction(
        command(b"HSET", STAGING, b"@meta", meta, *flat),
        command(b"HSET", STAGING, b"@version", b"1795943281099761"),
        command(b"RENAME", STAGING, bundle),
        command(b"PEXPIREAT", bundle, b"1795946881099"),
        command(b"ZADD", b"skylark:chain:{c}", b"1795946881099", b"sat-1:%s" % task.encode()),
    )


SELECT = command(b"SELECT", b"0")
ATOMS = (
    SELECT,
    *(commit(f"t{number}", f=bytes([65 + number]) * 40, gg=b"\r\n") for number in range(3)),
    command(b"UNLINK", b"skylark:bundle:{c}:sat-1:t1"),
    b"#TS:1795943281\r\n",
    commit("fake", f=FAKE, g=b"x", h=FAKE * 3),
    commit("t4", f=b""),
    command(b"HSET", b"skylark:ledger:{c}:sat-1:t4", b"sat-2", b"p1795943281099761"),
    commit("t5", f=b"B" * 120),
)
FILE = b"".join(ATOMS)
STARTS = [sum(map(len, ATOMS[:number])) for number in range(len(ATOMS))]


def kept(data: bytes, found: Scan) -> bytes:
    """What a repair leaves."""
    parts, at = [], 0
    for cut in found.cuts:
        parts += [data[at : cut.start], cut.instead]
        at = cut.end
    return b"".join([*parts, data[at : found.end]])


def atoms(data: bytes) -> list[bytes]:
    """The transactions and single commands of a file that is whole."""
    found, at, begin = [], 0, None
    while at < len(data):
        if data[at : at + 1] == b"#":
            at = data.index(b"\n", at) + 1
            continue
        end, name, _ = parse(data, at)
        assert end > 0, data[at : at + 60]
        if name == b"MULTI":
            assert begin is None, "a transaction without end"
            begin = at
        elif name == b"EXEC":
            assert begin is not None, "an end without transaction"
            found.append(data[begin:end])
            begin = None
        elif begin is None:
            found.append(data[at:end])
        at = end
    assert begin is None, "a transaction without end"
    return found


def untouched(start: int, end: int) -> list[bytes]:
    """The atoms of the file that a change from `start` to `end` leaves alone."""
    whole = zip(ATOMS, STARTS, strict=True)
    return [atom for atom, at in whole if atom[:1] != b"#" and (at + len(atom) <= start or at >= end)]


def is_part(some: list[bytes], of: list[bytes]) -> bool:
    rest = iter(of)
    return all(any(one == other for other in rest) for one in some)


def test_a_whole_file() -> None:
    """A file that is whole is left alone, with its annotations, and contents that look like commands."""
    found = scan(FILE)
    assert found.is_whole
    assert (found.cuts, found.end, found.lost_bytes, found.lost_commands) == ((), len(FILE), 0, 0)
    assert found.commands == sum(atom.count(b"*") for atom in ATOMS) - sum(FILE.count(FAKE) * [FAKE.count(b"*")])


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_one_changed_byte(at: int, difference: int) -> None:
    """One changed byte costs no command and no transaction but its own, and nothing half stays."""
    data = bytearray(FILE)
    data[at] ^= difference
    left = kept(bytes(data), scan(bytes(data)))
    assert is_part(untouched(at, at + 1), atoms(left))
    assert command(b"FLUSHALL") not in atoms(left)


def test_every_changed_digit() -> None:
    """No wrong count or length, wherever it leads, costs more than its own transaction or lets contents run."""
    for at in (at for at in range(len(FILE)) if FILE[at : at + 1].isdigit()):
        for digit in {*b"019", min(FILE[at] + 1, 57)}:
            data = FILE[:at] + bytes([digit]) + FILE[at + 1 :]
            left = atoms(kept(data, scan(data)))
            assert is_part(untouched(at, at + 1), left), (at, digit)
            assert command(b"FLUSHALL") not in left


@given(st.integers(0, len(FILE)))
def test_a_file_that_ends_anywhere(size: int) -> None:
    """What a crash left at the end goes, back to the beginning of its transaction, and nothing before or out of it."""
    data = FILE[:size]
    found = scan(data)
    assert not found.cuts
    assert atoms(data[: found.end]) == untouched(size, len(FILE))


@given(st.integers(0, len(FILE) - 1), st.binary(min_size=1, max_size=60))
def test_a_changed_block(at: int, block: bytes) -> None:
    """A block of other bytes never leaves half a transaction or something that cannot be read."""
    data = (FILE[:at] + block + FILE[at + len(block) :])[: len(FILE)]
    left = kept(data, scan(data))
    assert scan(left).is_whole


@given(st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), min_size=2, max_size=6))
def test_several_changed_bytes(changes: list[tuple[int, int]]) -> None:
    """After several changes the rest can be read, and a second look finds nothing wrong."""
    data = bytearray(FILE)
    for at, byte in changes:
        data[at] = byte
    assert scan(kept(bytes(data), scan(bytes(data)))).is_whole


def test_the_choice_of_a_database_stays() -> None:
    """Redis chooses the database within the first transaction: that outlives the transaction."""
    first = transaction(SELECT, command(b"SET", b"a", b"1"))
    data = first.replace(b"$1\r\na", b"$7\r\na") + commit("t", f=b"1")
    found = scan(data)
    assert [(cut.start, cut.end, cut.commands, cut.instead) for cut in found.cuts] == [(0, len(first), 4, SELECT)]


def test_another_database() -> None:
    """A choice of a database that leads our own keys away is damage; that of someone else is not."""
    wrong, others = command(b"SELECT", b"8"), command(b"SET", b"a", b"1")
    assert scan(wrong + others).is_whole
    found = scan(wrong + commit("t", f=b"1"))
    assert kept(wrong + commit("t", f=b"1"), found) == commit("t", f=b"1")


def test_an_unknown_command() -> None:
    """A command of which nothing is known is none of our business, unless its name is nearly a known one."""
    assert scan(command(b"JSON.SET", b"a", b"1") * 2).is_whole
    assert scan(command(b"SEU", b"a", b"1") + command(b"SET", b"a", b"1")).lost_commands == 1


def test_an_end_of_zeros() -> None:
    """The zeros that a power failure leaves at the end of a file are cut off."""
    data = FILE + bytes(5000)
    assert (scan(data).end, scan(data).cuts) == (len(FILE), ())


def test_a_snapshot_before_the_commands() -> None:
    """What comes before the commands is not looked at."""
    found = scan(b"REDIS0009\xff*3" + FILE, 12)
    assert found.is_whole


def test_progress() -> None:
    """A long scan says where it is."""
    told: list[int] = []
    one = command(b"SET", b"a", bytes(9_000_000))
    assert scan(one * 4, report=told.append).is_whole
    assert told == [2 * len(one), 4 * len(one)]
