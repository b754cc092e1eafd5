"""Where WASI differs from CPython on Linux, with the reason. All that is not here has to be equal."""

from collections.abc import Collection
from dataclasses import dataclass

from conformance.running import Found


@dataclass(frozen=True, slots=True)
class Difference:
    """One label of one scenario.

    Attributes:
        scenario: Its name, or the beginning of it.
        label: The label.
        cpython: What CPython finds.
        wasi: What is found in a sandbox.
        reason: Why that is right.
        runtimes: Where; empty is everywhere.
    """

    scenario: str
    label: str
    cpython: object
    wasi: object
    reason: str
    runtimes: Collection[str] = ()

    def holds(self, scenario: str, runtime: str, label: str) -> bool:
        """Whether it is about this."""
        here = not self.runtimes or runtime in self.runtimes
        return here and scenario.startswith(self.scenario) and label == self.label


def _error(kind: str, name: str) -> dict[str, str]:
    return {"error": kind, "errno": name}


_RESET = _error("ConnectionResetError", "ECONNRESET")
_IO = _error("OSError", "EIO")
_NO_CODE = "the error of a stream has no code in WASI 0.2.0 (`last-operation-failed`); wasi-libc makes it EIO"
_TWO_ENDINGS = "`wasi:cli/exit` 0.2.0 and `wasi:cli/run` know success and failure only"
_NO_FLAGS = "the streams of WASI 0.2 have no flags for a read; wasi-libc refuses them"
_NOT_CONNECTED = "wasi-libc answers by the state of the socket that it keeps, and does not ask the host"
_UNBOUND = "`local-address` of a socket that is not bound is `invalid-state` in WASI 0.2, EINVAL in wasi-libc"
_STATE = "`start-connect` in another state is `invalid-state` in WASI 0.2, which wasi-libc makes ENOTSUP"
_UNICAST = "`start-connect` of WASI 0.2 takes a unicast address only, and not the unspecified one: `invalid-argument`"
_V6ONLY = "WASI 0.2 has IPv6 sockets for IPv6 only; wasi-libc has no IPV6_V6ONLY, and Python's servers insist on it"
_WASMEDGE = ("wasmedge", "wasmedge-aot")
DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "files",
        "through 25 links",
        "content",
        _error("OSError", "ELOOP"),
        "WasmEdge gives up at the eighth symbolic link: `kMaxNestedLinks`, lib/host/wasi/vinode.cpp:22",
        _WASMEDGE,
    ),
    Difference(
        "directories",
        "up and down",
        ["dot"],
        _error("FileNotFoundError", "ENOENT"),
        "WasmEdge looks for a file without a name after `../` at the end of a path: lib/host/wasi/vinode.cpp:397",
        _WASMEDGE,
    ),
    Difference("ends-three", "code", 3, 1, _TWO_ENDINGS),
    Difference("ends-at once", "code", 3, 1, _TWO_ENDINGS),
    Difference("ends-255", "code", 255, 1, _TWO_ENDINGS),
    Difference("files", "write to what is open for reading", _error("OSError", "EBADF"), _IO, _NO_CODE),
    Difference("files", "read from what is open for writing", _error("OSError", "EBADF"), _IO, _NO_CODE),
    Difference(
        "files",
        "a link that leaves",
        None,
        _error("PermissionError", "EPERM"),
        "a symbolic link to an absolute path leaves the sandbox",
    ),
    Difference("client", "reset by the peer", _RESET, _IO, _NO_CODE),
    Difference("client", "then the reset", _RESET, _IO, _NO_CODE),
    Difference("server", "the client is gone", _RESET, _IO, _NO_CODE),
    Difference("client", "asked again", 0, 14, _NOT_CONNECTED),
    Difference("client", "peek", "pee", _error("OSError", "ENOTSUP"), _NO_FLAGS),
    Difference("client", "waitall", "peeked", _error("OSError", "ENOTSUP"), _NO_FLAGS),
    *(
        Difference("sockets", f"{version}: {label}", cpython, wasi, reason)
        for version in ("IPv4", "IPv6")
        for label, cpython, wasi, reason in (
            ("connection: connect a listener", _error("OSError", "EISCONN"), _error("OSError", "ENOTSUP"), _STATE),
            ("not connected: send", _error("BrokenPipeError", "EPIPE"), _error("OSError", "ENOTCONN"), _NOT_CONNECTED),
            ("not connected: getsockname", 0, _error("OSError", "EINVAL"), _UNBOUND),
        )
    ),
    Difference("sockets", "IPv6: binding: create_server", None, _error("OSError", "ENOPROTOOPT"), _V6ONLY),
    Difference("asyncio", "listen at ::1", "done", "ENOPROTOOPT", _V6ONLY),
    Difference(
        "sockets", "a broadcast address", _error("OSError", "ENETUNREACH"), _error("OSError", "EINVAL"), _UNICAST
    ),
    Difference(
        "sockets",
        "no address",
        _error("ConnectionRefusedError", "ECONNREFUSED"),
        _error("OSError", "EINVAL"),
        _UNICAST,
    ),
)


def expected(scenario: str, runtime: str, native: Found) -> Found:
    """What a runtime has to find, given what CPython found.

    Raises:
        AssertionError: CPython did not find what a difference says.
    """
    return [(label, _expected(scenario, runtime, label, value)) for label, value in native]


def _expected(scenario: str, runtime: str, label: str, native: object) -> object:
    matching = [each for each in DIFFERENCES if each.holds(scenario, runtime, label)]
    if not matching:
        return native
    assert len(matching) == 1, f"{scenario}: {label}: two differences"
    assert matching[0].cpython == native, f"{scenario}: {label}: CPython finds {native!r}"
    return matching[0].wasi
