"""Files: every operation and the errors that it can give."""

# ruff: noqa: PTH115, PTH116, PTH123, PTH208, PTH211
import hashlib
import io
import os
import shutil
import stat
from pathlib import Path

from conformance.programs.record import attempt, outcome, say

_LARGE_BYTES = 10_000_000


def main(arguments: list[str]) -> None:
    """Works in the folder of the first argument, which is empty."""
    root = Path(arguments[0])
    _content(root)
    _positions(root)
    _descriptors(root)
    _attributes(root)
    _links(root)
    _names(root)
    _errors(root)
    _moved_and_removed(root)
    _many_and_large(root)
    _beyond_four_gigabytes(root)
    _shared(root)


def _content(root: Path) -> None:
    path = root / "text"
    attempt("write text", path.write_text, "zwölf\nLinien\n", encoding="utf-8")
    attempt("read text", path.read_text, encoding="utf-8")
    with path.open("a", encoding="utf-8", newline="\r\n") as file:
        attempt("append", file.write, "more\n")
    attempt("bytes", path.read_bytes)
    with path.open(encoding="utf-8") as file:
        say("lines", list(file))
    with path.open("rb", buffering=0) as raw:
        buffer = bytearray(8)
        say("readinto", [raw.readinto(buffer), buffer])
        say("rest", raw.readall())
        say("at the end", raw.read(10))
    with path.open("wb") as file:
        say("fileno is an int", isinstance(file.fileno(), int))
        say("seekable", [file.seekable(), file.readable(), file.writable(), file.isatty()])
    say("truncated by open", path.stat().st_size)


def _positions(root: Path) -> None:
    path = root / "positions"
    path.write_bytes(bytes(range(64)))
    with path.open("r+b") as file:
        say("seek", [file.seek(10), file.seek(5, os.SEEK_CUR), file.seek(-4, os.SEEK_END), file.tell()])
        say("read at the end", file.read())
        attempt("seek before the start", file.seek, -100, os.SEEK_CUR)
        file.seek(2)
        file.write(b"xy")
        file.seek(0)
        say("overwritten", file.read(6))
        attempt("truncate", file.truncate, 8)
        attempt("extend", file.truncate, 12)
        file.seek(20)
        file.write(b"!")
    say("with a hole", path.read_bytes())


def _descriptors(root: Path) -> None:
    path = str(root / "descriptor")
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    attempt("write", os.write, opened, b"0123456789")
    attempt("pread", os.pread, opened, 4, 3)
    attempt("pwrite", os.pwrite, opened, b"XY", 8)
    attempt("lseek", os.lseek, opened, 0, os.SEEK_SET)
    attempt("lseek before the start", os.lseek, opened, -1, os.SEEK_SET)
    attempt("read", os.read, opened, 100)
    attempt("write at the end", os.write, opened, b"abcd")
    attempt("ftruncate", os.ftruncate, opened, 5)
    attempt("ftruncate to less than nothing", os.ftruncate, opened, -5)
    attempt("fsync", os.fsync, opened)
    attempt("fdatasync", os.fdatasync, opened)
    say("fstat", [os.fstat(opened).st_size, stat.S_ISREG(os.fstat(opened).st_mode)])
    attempt("close", os.close, opened)
    attempt("close again", os.close, opened)
    attempt("read when closed", os.read, opened, 1)
    attempt("fstat when closed", lambda: os.fstat(opened).st_size)
    attempt("exclusively again", os.open, path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    opened = os.open(path, os.O_RDONLY)
    attempt("write to what is open for reading", os.write, opened, b"x")
    os.close(opened)
    opened = os.open(path, os.O_WRONLY | os.O_APPEND)
    attempt("read from what is open for writing", os.read, opened, 1)
    os.lseek(opened, 0, os.SEEK_SET)
    attempt("append", os.write, opened, b"+end")
    os.close(opened)
    say("appended", Path(path).read_bytes())
    opened = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.close(opened)
    say("truncated", os.stat(path).st_size)


def _attributes(root: Path) -> None:
    path = root / "attributes"
    path.write_bytes(b"12345")
    found = path.stat()
    say("stat", [found.st_size, stat.S_IFMT(found.st_mode) == stat.S_IFREG, found.st_nlink])
    attempt("utime", os.utime, path, ns=(1_000_000_001, 2_000_000_002))
    found = path.stat()
    say("times", [found.st_atime_ns, found.st_mtime_ns])
    os.utime(path)
    say("now", path.stat().st_mtime_ns > 1_700_000_000 * 10**9)
    say("exists", [path.exists(), path.is_file(), path.is_dir(), path.is_symlink(), (root / "no").exists()])
    say("same file", [path.samefile(root / "attributes"), path.samefile(root / "text")])
    say("inode", path.stat().st_ino == os.lstat(path).st_ino != (root / "text").stat().st_ino)
    with path.open("rb") as file:
        say("inode of what is open", os.fstat(file.fileno()).st_ino == path.stat().st_ino)
        say("device", os.fstat(file.fileno()).st_dev == path.stat().st_dev)


def _links(root: Path) -> None:
    path = root / "linked"
    path.write_bytes(b"content")
    attempt("hard link", os.link, path, root / "hard")
    say("links", [path.stat().st_nlink, (root / "hard").read_bytes(), path.samefile(root / "hard")])
    attempt("hard link over a file", os.link, path, root / "hard")
    attempt("symbolic link", os.symlink, "linked", root / "soft")
    attempt("readlink", os.readlink, root / "soft")
    say("followed", [(root / "soft").read_bytes(), stat.S_ISLNK(os.lstat(root / "soft").st_mode)])
    attempt("symbolic link over a file", os.symlink, "linked", root / "soft")
    attempt("dangling", os.symlink, "nowhere", root / "dangling")
    attempt("open dangling", lambda: (root / "dangling").read_bytes())
    say("dangling exists", [(root / "dangling").exists(), os.path.lexists(root / "dangling")])
    attempt("write through dangling", lambda: (root / "dangling").write_bytes(b"made"))
    say("made", outcome((root / "nowhere").read_bytes))
    os.symlink("loop", root / "loop")
    attempt("loop", lambda: (root / "loop").read_bytes())
    os.symlink("linked", root / "chain-0")
    for number in range(1, 25):
        os.symlink(f"chain-{number - 1}", root / f"chain-{number}")
    attempt("through 5 links", (root / "chain-4").read_bytes)
    attempt("through 25 links", (root / "chain-24").read_bytes)
    os.symlink("x/" * 500, root / "far")
    say("a long link", len(os.readlink(root / "far")))
    attempt("readlink of a file", os.readlink, path)
    attempt("unlink the link", os.unlink, root / "soft")
    say("the file stays", path.read_bytes())
    attempt("a link that leaves", os.symlink, "/etc", root / "absolute")


def _names(root: Path) -> None:
    names = ["sp ace", "ümläut", "日本語", "🔥", "-dash", ".hidden", "a" * 255, "new\nline", "quo'te\"", "back\\slash"]
    for name in names:
        (root / name).write_text(name, encoding="utf-8")
    say("names", [(root / name).read_text(encoding="utf-8") == name for name in names])
    say("listed", sorted(name for name in os.listdir(root) if name in names) == sorted(names))
    for name in names:
        (root / name).unlink()
    attempt("a name too long", lambda: (root / ("a" * 256)).write_bytes(b""))
    attempt("an empty name", lambda: open(""))  # noqa: SIM115
    attempt("a null byte", lambda: open(f"{root}/a\0b"))  # noqa: SIM115


def _errors(root: Path) -> None:
    file, folder = root / "text", root / "folder"
    folder.mkdir()
    attempt("open what is missing", lambda: (root / "missing").read_bytes())
    attempt("open in what is missing", lambda: (root / "missing" / "file").write_bytes(b""))
    attempt("open what is there exclusively", lambda: file.open("x").close())
    attempt("open a folder to write", lambda: folder.open("wb").close())
    attempt("open a folder to read", lambda: folder.open("rb").close())
    attempt("open below a file", lambda: (file / "below").read_bytes())
    attempt("open with a slash at the end", lambda: open(f"{file}/", "rb").close())
    attempt("make below a file", lambda: (file / "below").mkdir())
    attempt("unlink what is missing", os.unlink, root / "missing")
    attempt("stat what is missing", lambda: os.stat(root / "missing").st_size)
    attempt("stat below a file", lambda: os.stat(file / "below").st_size)
    attempt("rename what is missing", os.rename, root / "missing", root / "other")
    attempt("rename a file to a folder", os.rename, file, folder)
    attempt("rename a folder to a file", os.rename, folder, file)
    attempt("unlink a folder", os.unlink, folder)
    attempt("list a file", os.listdir, file)
    attempt("remove a file as a folder", os.rmdir, file)
    attempt("truncate what is missing", os.truncate, root / "missing", 0)
    attempt("utime of what is missing", os.utime, root / "missing")
    attempt("outside", lambda: Path("/no-such-folder/file").read_bytes())
    with (root / "text").open("rb") as opened:
        say("write to a reader", _unsupported(lambda: opened.write(b"x")))
    folder.rmdir()


def _unsupported(call: object) -> str:
    try:
        call()  # type: ignore[operator]
    except io.UnsupportedOperation as error:
        return str(error)
    return "done"


def _moved_and_removed(root: Path) -> None:
    path = root / "moved"
    path.write_bytes(b"1")
    attempt("rename", lambda: path.rename(root / "elsewhere").name)
    say("after", [path.exists(), (root / "elsewhere").read_bytes()])
    path.write_bytes(b"2")
    attempt("replace", os.replace, path, root / "elsewhere")
    say("replaced", (root / "elsewhere").read_bytes())
    attempt("rename to itself", os.rename, root / "elsewhere", root / "elsewhere")
    with (root / "elsewhere").open("r+b") as file:
        attempt("unlink what is open", os.unlink, root / "elsewhere")
        say("still readable", file.read())
        attempt("still writable", file.write, b"more")
    say("gone", (root / "elsewhere").exists())
    shutil.copyfile(root / "text", root / "copy")
    say("copied", (root / "copy").read_bytes() == (root / "text").read_bytes())


def _many_and_large(root: Path) -> None:
    opened = [(root / f"many-{number}").open("w+b") for number in range(200)]
    for number, file in enumerate(opened):
        file.write(str(number).encode())
    for file in opened:
        file.seek(0)
    say("200 open at once", [file.read() for file in opened] == [str(number).encode() for number in range(200)])
    for file in opened:
        file.close()
    content = hashlib.sha256(b"large").digest() * (_LARGE_BYTES // 32)
    (root / "large").write_bytes(content)
    say("large", hashlib.sha256((root / "large").read_bytes()).hexdigest())
    with (root / "large").open("rb") as large:
        say("in pieces", hashlib.file_digest(large, "sha256").hexdigest())
    say("size", (root / "large").stat().st_size)


def _beyond_four_gigabytes(root: Path) -> None:
    """Sparse: it takes no room."""
    with (root / "sparse").open("w+b") as file:
        say("far", [file.seek(5_000_000_000), file.write(b"far away"), file.tell()])
        file.seek(-8, os.SEEK_END)
        say("read far", file.read())
        attempt("truncate far", file.truncate, 6_000_000_001)
        file.flush()
        say("size", os.fstat(file.fileno()).st_size)
        say("pread far", os.pread(file.fileno(), 8, 5_000_000_000))
    (root / "sparse").unlink()


def _shared(root: Path) -> None:
    """One file, opened several times."""
    path = root / "shared"
    with path.open("wb", buffering=0) as writer, path.open("ab", buffering=0) as adder, path.open("rb") as reader:
        writer.write(b"one")
        adder.write(b"+")
        writer.write(b"two")
        adder.write(b"+")
        say("appended and overwritten", [reader.read(), adder.tell(), writer.tell()])
        os.truncate(path, 2)
        adder.write(b"!")
        reader.seek(0)
        say("truncated meanwhile", reader.read())
