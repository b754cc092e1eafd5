"""Whatever a command cannot read or write is told in a sentence that names it."""

import errno
import io
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from skylark_oci import pull
from skylark_oci.images import Form
from skylark_proxy.cli.app import main
from skylark_proxy.client import ProxyClient

KEY = "chain:node:task"
EXAMPLES = Path(__file__).parents[3] / "examples"
COMPONENT = b"\0asm\x0d\0\1\0"
ELECT = ["--from", "sat1", "--to", "cloud1", "--size", "1000"]
HEADERS = {"skylark-key": KEY, "etag": '"1"', "skylark-origin": "n", "skylark-created-ms": "1", "skylark-hops": "0"}

Patch = pytest.MonkeyPatch
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Stand in a folder with good and bad files, beside a proxy and a registry that have what they are asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("SKYLARK_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("not-text", "not-text.yaml", "not-text.toml", "text.txt"):
        Path(name).write_bytes(b"good" if name == "text.txt" else b"\xff\xfe{\xff")
    for name in ("folder", "folder.py", "folder.wasm", "folder.png"):
        Path(name, "other").mkdir(parents=True)
    Path("app.wasm").write_bytes(COMPONENT)
    Path("not-text.wasm").write_bytes(COMPONENT)
    Path("app.py").write_text("import skylark\n\n\n@skylark.function\ndef f(ctx, event):\n    return event\n")
    Path("skylark.yaml").write_bytes(files("skylark_oci.manifests").joinpath("example.yaml").read_bytes())
    monkeypatch.setattr(ProxyClient, "get_bundle", lambda *_: ({"f": b"content"}, HEADERS))
    monkeypatch.setattr(pull, "Registry", lambda *_: SimpleRegistry())
    layers = SimpleNamespace(layers=[SimpleNamespace(size=len(COMPONENT))])
    monkeypatch.setattr(pull, "resolve", lambda *_: pull.Resolved("r", layers, "d", Form.ARTIFACT))  # type: ignore[arg-type]
    return tmp_path


class SimpleRegistry:
    """A registry with one component."""

    def __enter__(self) -> "SimpleRegistry":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def download(self, _descriptor: object, file: Any, _report: object) -> None:
        file.write(COMPONENT)


def failed(arguments: list[str], monkeypatch: Patch, capfd: Captured) -> tuple[int, str]:
    """The status of a command and what it says."""
    monkeypatch.setattr(sys, "argv", ["skylark", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, capfd.readouterr().err


def check_told(arguments: list[str], sentence: str, monkeypatch: Patch, capfd: Captured) -> None:
    """The command fails and says this sentence, without a traceback."""
    status, errors = failed(arguments, monkeypatch, capfd)
    assert status == 1
    assert sentence in errors
    assert "Traceback" not in errors


WRITING = {
    "pull": (["pull", "r.example/x:1", "-o"], ["folder", "/dev/full"]),
    "package": (["package", "app.wasm", "-o"], ["folder", "text.txt", "/dev/full"]),
    "bundle get": (["bundle", "get", KEY, "-o"], ["text.txt", "/dev/full"]),
    "build": (["build", "app.py", "-o"], ["folder"]),
    "manifests": (["manifests", "-o"], ["text.txt", "/dev/full"]),
    "experiment": (["experiment", "run", "election", "--quick", "--out"], ["text.txt", "/dev/full"]),
    "demo": (["demo", "-o"], ["folder"]),
    "testbed": (["testbed", "up", str(EXAMPLES / "testbeds" / "four-nodes.yaml"), "--folder"], ["text.txt", "folder"]),
}
OUTPUTS = [
    (arguments, output)
    for arguments, outputs in WRITING.values()
    for output in (*outputs, "text.txt/x", "text.txt/x/y", "/proc/x", "/proc/x/y")
]
READING: list[tuple[list[str], list[str]]] = [
    (["elect", *ELECT, "--topology"], ["", ".json"]),
    (["node-info", "--topology"], [""]),
    (["node-info", "--provider", "rotating", "--topology"], [""]),
    (["testbed", "up"], [""]),
    (["testbed", "check"], ["", ".yaml"]),
    (["experiment", "run"], [".yaml"]),
    (["experiment", "simulate"], [".yaml"]),
    (["experiment", "report"], [""]),
    (["manifests", "-f"], ["", ".yaml"]),
    (["deploy", "-f"], [""]),
    (["inspect"], [""]),
    (["package"], ["", ".wasm"]),
    (["build"], [".py"]),
    (["run"], [".py", ".wasm"]),
    (["run", "--native"], [".py"]),
]
SENDING = [
    (["invoke", "f", "-i"], ""),
    (["bundle", "put", KEY, "-f"], "f=@"),
]
INPUTS = [
    (arguments, f"{name}{ending}")
    for arguments, endings in READING
    for ending in endings
    for name in ("missing", "folder", "not-text", "./text.txt/x")
]
INPUTS += [
    (arguments, f"{start}{name}") for arguments, start in SENDING for name in ("missing", "folder", "text.txt/x")
]
INPUTS += [(["push", name], "r.example/x:1") for name in ("missing", "folder", "not-text", "text.txt/x")]


@pytest.mark.parametrize(("arguments", "output"), OUTPUTS, ids=str)
def test_an_output_that_cannot_be_written_is_named(
    arguments: list[str], output: str, monkeypatch: Patch, capfd: Captured
) -> None:
    """A folder, a device, what lies under a file, and where nothing can be made, are each told in one sentence."""
    if output.startswith("/") and not Path(output[:5]).exists():
        pytest.skip(f"there is no {output[:5]}")
    status, errors = failed([*arguments, output], monkeypatch, capfd)
    assert status in (1, 2)
    assert "Traceback" not in errors
    assert "internal error" not in errors
    assert output in errors
    assert ".partial" not in errors
    assert not Path("/dev/full").is_file()


@pytest.mark.parametrize(("arguments", "name"), INPUTS, ids=str)
def test_an_input_that_cannot_be_read_is_named(
    arguments: list[str], name: str, monkeypatch: Patch, capfd: Captured
) -> None:
    """What is missing, a folder, no text or under a file, is told in one sentence."""
    status, errors = failed([*arguments, name], monkeypatch, capfd)
    assert status in (1, 2)
    assert "Traceback" not in errors
    assert "internal error" not in errors
    given = arguments[1] if arguments[0] == "push" else name
    # without its ending, as it may be the manifest beside a component that is wrong
    assert given.removeprefix("f=@").removeprefix("./").removesuffix(".wasm") in errors


def jpeg(side_px: int) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((side_px, side_px), 50).save(stream, "JPEG")
    return stream.getvalue()


def enormous() -> bytes:
    """Return the beginning of a PNG that would take 30 GB of memory, and is a few bytes long."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


PICTURES: dict[str, Callable[[], bytes | None]] = {
    "text": lambda: b"not a picture",
    "empty": lambda: b"",
    "truncated": lambda: jpeg(200)[:2000],
    "only a head": lambda: jpeg(200)[:100],
    "enormous": enormous,
    "missing": lambda: None,
}
WRONG_OUTPUTS = ["folder", "text.txt/x.png", "picture.xyz", "picture", ".png", "picture.psd"]


@pytest.fixture
def nothing_starts(monkeypatch: Patch) -> None:
    """Fail if a node is started or a function built."""
    monkeypatch.setattr("skylark_testbed.demo.open_testbed", lambda *_: pytest.fail("it starts nodes"))


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.usefixtures("nothing_starts")
def test_a_bad_picture_is_refused_before_anything_starts(kind: str, monkeypatch: Patch, capfd: Captured) -> None:
    """What is no picture, or no whole one, or too large, is told in one sentence with its name."""
    content = PICTURES[kind]()
    if content is not None:
        Path("picture.jpg").write_bytes(content)
    status, errors = failed(["demo", "--image", "picture.jpg"], monkeypatch, capfd)
    assert status == 1
    assert errors.startswith("error: --image: 'picture.jpg' is not valid; expected a picture")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("folder", ["folder", "folder.png", "."])
@pytest.mark.usefixtures("nothing_starts")
def test_a_folder_is_no_picture(folder: str, monkeypatch: Patch, capfd: Captured) -> None:
    """It is told like any other thing that is no picture."""
    check_told(["demo", "--image", folder], f"--image: '{folder}' is not valid; expected a picture", monkeypatch, capfd)


@pytest.mark.parametrize("output", WRONG_OUTPUTS)
@pytest.mark.usefixtures("nothing_starts")
def test_where_no_picture_can_be_written(output: str, monkeypatch: Patch, capfd: Captured) -> None:
    """An ending that names no format is refused before the demo runs, as is a place where nothing can be written."""
    check_told(["demo", "--output", output], f"--output: '{output}' is not valid", monkeypatch, capfd)


@pytest.mark.parametrize("name", ["", ".", "/"])
@pytest.mark.parametrize("command", ["build", "package", "run", "inspect"])
def test_an_input_without_a_name(command: str, name: str, monkeypatch: Patch, capfd: Captured) -> None:
    """An empty argument, as of a variable that is not set, is no defect of Skylark."""
    status, errors = failed([command, name], monkeypatch, capfd)
    assert status in (1, 2)
    assert "Traceback" not in errors and "internal" not in errors


def test_a_host_that_is_no_name(monkeypatch: Patch, capfd: Captured) -> None:
    """Where it cannot listen it says so, whatever the library raises."""
    for host in ("x" * 300, "a..b", "\udcff"):
        status, errors = failed(["serve", "--host", host, "--data-dir", "data"], monkeypatch, capfd)
        assert status == 1
        assert "SKYLARK_HOST" in errors and "Traceback" not in errors


@pytest.mark.parametrize("value", ["text/plain\r\nX: y", "a\nb", "a\0b", "text/é", "\x7f"])
def test_a_media_type_that_is_no_header_is_refused(value: str, monkeypatch: Patch, capfd: Captured) -> None:
    """No option adds a header to a request."""
    check_told(["invoke", "f", "--content-type", value], "--content-type", monkeypatch, capfd)


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/path"), 1, "error: a/path: No space left on device\n"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "Too many open files\n"),
        (OSError("odd"), 1, "error: odd\n"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "expected utf-8"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"), 1, "cannot be written in ascii"),
        (OSError("two\nlines"), 1, "error: two lines\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_sentence(
    error: BaseException, status: int, said: str, monkeypatch: Patch, capfd: Captured
) -> None:
    """What the system refuses is told without a traceback."""
    monkeypatch.setattr(ProxyClient, "list_bundles", raising(error))
    found, errors = failed(["bundle", "list", "chain"], monkeypatch, capfd)
    assert found == status
    assert said in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("kind", [KeyError, ValueError, TypeError, RuntimeError])
def test_a_defect_shows_where_it_is(kind: type[Exception], monkeypatch: Patch, capfd: Captured) -> None:
    """A report of it needs the traceback."""
    monkeypatch.setattr(ProxyClient, "list_bundles", raising(kind("nobody [red] expects it")))
    status, errors = failed(["bundle", "list", "chain"], monkeypatch, capfd)
    assert status == 1
    assert "Traceback" in errors
    assert re.search(rf"error: internal error: {kind.__name__}: '?nobody \[red\] expects it", errors)


def skylark(*arguments: str, stdout: Any) -> tuple[int, str]:
    command = [sys.executable, "-m", "skylark_proxy", *arguments]
    ended = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    return ended.returncode, ended.stderr


def test_a_full_disk_behind_stdout_is_told() -> None:
    """A result that is not written is no success."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("w") as full:
        status, errors = skylark("experiment", "list", "--json", stdout=full)
    assert status == 1
    assert errors.count("\n") == 1
    assert "No space left" in errors


def test_a_reader_that_has_enough_is_no_error_to_tell() -> None:
    """A closed pipe ends the command without a word."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as pipe:
        status, errors = skylark("experiment", "list", "--json", stdout=pipe)
    assert (status, errors) == (1, "")
