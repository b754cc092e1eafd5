"""Each scenario runs one program in one runtime, and gives all that was found: to be equal everywhere."""

import hashlib
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from conformance import clients
from conformance.peers import ADDRESSES, http_peer, peer
from conformance.running import Found, Running, start
from conformance.runtimes import Runtime

Scenario = Callable[[Runtime, Path], Found]
_CLIENTS = 100
_TRANSFER_BYTES = 50_000_000
_TRACEBACK = b"Traceback (most recent call last):"


def _plain(name: str, *arguments: str) -> Scenario:
    """A program that needs nothing but its folder."""

    def scenario(runtime: Runtime, folder: Path) -> Found:
        return _run(start(runtime, [name, *arguments], folder))

    return scenario


def _run(program: Running, content: bytes = b"", code: int = 0) -> Found:
    try:
        ended = program.ended(content)
    finally:
        program.stop()
    assert ended.code == code, f"exit code {ended.code}:\n{ended.output[-2000:]!r}\n{ended.errors.decode()}"
    return ended.found


def _clocks(runtime: Runtime, folder: Path) -> Found:
    return _run(start(runtime, ["clocks", str(time.time())], folder))


def _randomness(runtime: Runtime, folder: Path) -> Found:
    """Runs twice: what has to differ does."""
    fresh: list[set[str]] = []
    for _ in range(2):
        program = start(runtime, ["randomness"], folder)
        fresh.append({program.told("fresh") for _ in range(7)})
        found = _run(program)
    return [*found, ("both fresh", [len(fresh[0]), len(fresh[0] & fresh[1])])]


def _surroundings(runtime: Runtime, folder: Path) -> Found:
    arguments = [
        "plain",
        "",
        "ümläut 日本語 🔥",
        " spaces ",
        "a=b",
        "--option",
        "-x",
        "new\nline",
        "quo'te\"",
        "x" * 100_000,
    ]
    environment = {
        "CONFORMANCE_PLAIN": "value",
        "CONFORMANCE_EMPTY": "",
        "CONFORMANCE_UNICODE": "ümläut 日本語 🔥",
        "CONFORMANCE_EQUALS": "a=b=c",
        "CONFORMANCE_LINES": "one\ntwo",
        "CONFORMANCE_LARGE": "y" * 100_000,
    } | {f"CONFORMANCE_MANY_{number:03d}": str(number) for number in range(300)}
    many = [str(number) for number in range(1000)]
    program = start(runtime, ["surroundings", *arguments, *many], folder, environment)
    return _run(program)


def _ends(way: str) -> Scenario:
    def scenario(runtime: Runtime, folder: Path) -> Found:
        program = start(runtime, ["ends", way], folder)
        try:
            ended = program.ended()
        finally:
            program.stop()
        errors = ended.errors.decode()
        traceback = ended.errors.startswith(_TRACEBACK)
        last = errors.strip().splitlines()[-1] if errors.strip() else ""
        return [("code", ended.code), ("output", ended.output.decode()), ("traceback", traceback), ("last line", last)]

    return scenario


def _streams(what: str, content: bytes = b"", file: Path | None = None) -> Scenario:
    """A program with its standard input from a pipe, or from a file."""

    def scenario(runtime: Runtime, folder: Path) -> Found:
        program = start(runtime, ["streams", what], folder, standard_input=file)
        try:
            ended = program.ended(content)
        finally:
            program.stop()
        return [("code", ended.code), ("output", _shown(ended.output)), ("errors", _shown(ended.errors))]

    return scenario


def _shown(content: bytes) -> str:
    if len(content) < 2000:
        return content.decode(errors="backslashreplace")
    return f"{len(content)} bytes, {hashlib.sha256(content).hexdigest()}"


def _answers(runtime: Runtime, folder: Path) -> Found:
    """A conversation: each line is answered before the next one is written."""
    program = start(runtime, ["streams", "answers"], folder)
    answers = []
    try:
        for number in range(5):
            program.write(f"line {number}\n".encode())
            answers.append(program.line())
        ended = program.ended()
    finally:
        program.stop()
    return [("answers", answers), ("code", ended.code)]


def _client(family: int) -> Scenario:
    def scenario(runtime: Runtime, folder: Path) -> Found:
        with peer(family) as other:
            ports = [str(port) for port in (other.port, other.datagrams, other.nobody)]
            return _run(start(runtime, ["sockets_client", other.host, *ports], folder))

    return scenario


def _server(family: int) -> Scenario:
    def scenario(runtime: Runtime, folder: Path) -> Found:
        host = ADDRESSES[socket.AddressFamily(family)]
        program = start(runtime, ["sockets_server", host], folder)
        try:
            seen = clients.visit(program, host)
            return [*_run(program), *seen]
        finally:
            program.stop()

    return scenario


def _transfer(runtime: Runtime, folder: Path) -> Found:
    with peer() as other:
        arguments = ["transfer", other.host, str(other.port), str(_TRANSFER_BYTES)]
        return _run(start(runtime, arguments, folder))


def _asyncio_server(runtime: Runtime, folder: Path) -> Found:
    program = start(runtime, ["asyncio_server", "127.0.0.1", str(_CLIENTS)], folder)
    try:
        seen = clients.hundred(program, "127.0.0.1", _CLIENTS)
        return [*_run(program), *seen]
    finally:
        program.stop()


def _http_server(runtime: Runtime, folder: Path) -> Found:
    program = start(runtime, ["http_both", "server", "127.0.0.1", "3"], folder)
    try:
        seen = clients.browse(program, "127.0.0.1")
        return [*_run(program), *seen]
    finally:
        program.stop()


def _http_client(runtime: Runtime, folder: Path) -> Found:
    with http_peer() as port:
        return _run(start(runtime, ["http_both", "client", "127.0.0.1", str(port)], folder))


_INPUT = bytes(range(256)) * 4000
_LINES = "eins\nzwölf\r\n\n🔥\nno end".encode()
_WAYS = ("return", "error", "keyboard", "recursion", "zero", "one", "three", "none", "true", "text", "255", "at once")
SCENARIOS: Mapping[str, Scenario] = {
    "files": _plain("files", "{root}"),
    "directories": _plain("directories", "{root}"),
    "library": _plain("library", "{root}"),
    "clocks": _clocks,
    "randomness": _randomness,
    "surroundings": _surroundings,
    **{f"ends-{way}": _ends(way) for way in _WAYS},
    "streams-bytes": _streams("bytes", _INPUT),
    "streams-lines": _streams("lines", _LINES),
    "streams-empty": _streams("lines"),
    "streams-large": _streams("large"),
    "streams-none": _streams("none"),
    "streams-unflushed": _streams("unflushed"),
    "streams-texts": _streams("texts"),
    "streams-answers": _answers,
    "streams-selected": _streams("selected", _INPUT[:100_000]),
    "streams-file": _streams("bytes", file=Path(__file__)),
    "streams-file-lines": _streams("lines", file=Path(__file__)),
    "streams-nothing": _streams("lines", file=Path("/dev/null")),
    "client-IPv4": _client(socket.AF_INET),
    "client-IPv6": _client(socket.AF_INET6),
    "server-IPv4": _server(socket.AF_INET),
    "server-IPv6": _server(socket.AF_INET6),
    "sockets": _plain("sockets_local"),
    "transfer": _transfer,
    "asyncio-server": _asyncio_server,
    "asyncio": _plain("asyncio_local"),
    "http-server": _http_server,
    "http-client": _http_client,
}
