"""Clients that mean no good, and what a node's process takes while they are at it."""

import contextlib
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from continuum import LiveNode

T = TypeVar("T")

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Usage:
    """What a process takes."""

    memory_bytes: int
    most_memory_bytes: int
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """The usage of a process now, and the most memory that it had since `forget_peak`."""
        lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        status = {parts[0].rstrip(":"): parts[1] for parts in lines if len(parts) > 1}
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(int(status["VmRSS"]) << 10, int(status["VmHWM"]) << 10, int(status["Threads"]), descriptors)


def forget_peak(pid: int) -> None:
    """Has the kernel begin anew with the most memory of a process (Linux: proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing, as long as the context lasts; its connections stay open."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def many_descriptors(needed: int) -> Iterator[bool]:
    """Whether this process may have so many open files; it may while the context lasts, if the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = hard == resource.RLIM_INFINITY or hard >= needed
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed) if allowed else soft, hard))
    try:
        yield allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def connections(node: LiveNode, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many open connections, on each of which `first` is sent and nothing more."""
    host, _, port = node.node.address.rpartition(":")
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(stack.enter_context(socket.create_connection((host, int(port)), timeout=20)))
            if first:
                opened[-1].sendall(first)
        yield opened


def half_upload(chain: str, size_bytes: int = 1000) -> bytes:
    """A request whose body does not come."""
    return f"PUT /bundles/{chain}:half HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size_bytes}\r\n\r\n".encode()


@contextlib.contextmanager
def at_once(node: LiveNode, count: int, send: Callable[[httpx.Client], T]) -> Iterator[list["Future[T]"]]:
    """So many requests at the same time, each in a thread with a client of its own. They are waited for in the end."""
    local = threading.local()
    clients: list[httpx.Client] = []

    def call() -> T:
        if not hasattr(local, "client"):
            local.client = httpx.Client(base_url=node.url, timeout=60.0)
            clients.append(local.client)
        return send(local.client)

    with ThreadPoolExecutor(count) as pool:
        try:
            yield [pool.submit(call) for _ in range(count)]
        finally:
            pool.shutdown(wait=True)
            for client in clients:
                client.close()
