"""The parts of the standard library that lean on files and on C: zlib, sqlite3, hashlib, json, zipfile and others."""

import csv
import datetime
import decimal
import encodings.cp437  # noqa: F401  # zipfile asks for it by name
import gzip
import hashlib
import hmac
import io
import json
import pickle
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from conformance.programs.record import attempt, say


def main(arguments: list[str]) -> None:
    """Works in the folder of the first argument, which is empty."""
    root = Path(arguments[0])
    _compressed(root)
    _archives(root)
    _database(root)
    _texts(root)


def _compressed(root: Path) -> None:
    content = b"".join(struct.pack("<I", number * number % 65521) for number in range(100_000))
    say("zlib", zlib.decompress(zlib.compress(content, 6)) == content)
    say("checksums", [zlib.crc32(content), zlib.adler32(content)])
    with gzip.open(root / "file.gz", "wb") as packed:
        packed.write(content)
    with gzip.open(root / "file.gz", "rb") as packed:
        say("gzip", packed.read() == content)
    names = ("md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b")
    say("hashes", {name: hashlib.new(name, content).hexdigest()[:16] for name in names})
    say("hmac", hmac.digest(b"secret", content, "sha256").hex()[:16])


def _archives(root: Path) -> None:
    with zipfile.ZipFile(root / "file.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.txt", "one" * 1000)
        archive.write(root / "file.gz", "two.gz")
    with zipfile.ZipFile(root / "file.zip") as archive:
        say("zip", [archive.testzip(), archive.namelist(), len(archive.read("one.txt"))])
    with tarfile.open(root / "file.tar.gz", "w:gz") as tar:
        tar.add(root / "file.zip", "file.zip")
    with tarfile.open(root / "file.tar.gz") as tar:
        tar.extractall(root / "extracted", filter="data")
    say("tar", (root / "extracted" / "file.zip").read_bytes() == (root / "file.zip").read_bytes())


def _database(root: Path) -> None:
    path = root / "data.db"
    with sqlite3.connect(path) as database:
        database.execute("create table number (value integer primary key, square integer, name text, raw blob)")
        rows = ((number, number**2, f"ü{number}", bytes([number % 256])) for number in range(5000))
        database.executemany("insert into number values (?, ?, ?, ?)", rows)
    database.close()
    database = sqlite3.connect(path)
    say("sum", database.execute("select sum(square), count(*), max(name) from number").fetchone())
    database.execute("begin")
    database.execute("delete from number where value > 10")
    database.rollback()
    say("rolled back", database.execute("select count(*) from number").fetchone())
    say("integrity", database.execute("pragma integrity_check").fetchone())
    try:
        database.execute("insert into number values (1, 1, '', '')")
    except sqlite3.IntegrityError as error:
        say("constraint", str(error))
    database.close()
    say("left", sorted(file.name for file in root.glob("data.db*")))
    attempt("in memory", lambda: sqlite3.connect(":memory:").execute("select 6 * 7").fetchone())


def _texts(root: Path) -> None:
    document = {"ü": [1, 2.5, None, True], "nested": {"deep": "🔥" * 3}}
    (root / "document.json").write_text(json.dumps(document))
    say("json", json.loads((root / "document.json").read_text()) == document)
    say("pickle", pickle.loads(pickle.dumps(document)) == document)
    with (root / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], ["1,5", 'quo"te'], ["new\nline", ""]])
    with (root / "table.csv").open(newline="") as file:
        say("csv", list(csv.reader(file)))
    modified = datetime.datetime.fromtimestamp(0, datetime.UTC) + datetime.timedelta(days=1.5)
    say("datetime", [modified.isoformat(), datetime.date(2026, 2, 28).isocalendar()[:]])
    say("decimal", str(decimal.Decimal(1) / 7))
    say("struct", struct.pack("<hiqfd", -1, 2, 3, 0.5, 0.1).hex())
    say("float", [repr(0.1 + 0.2), (2**0.5).hex(), round(2.675, 2)])
    say("large int", len(str(7**5000)))
    say("text io", io.TextIOWrapper(io.BytesIO("ü\r\n".encode()), encoding="utf-8").read())
