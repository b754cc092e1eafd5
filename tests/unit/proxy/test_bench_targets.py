"""Which runtimes can be measured."""

import sys
from pathlib import Path

import pytest

from skylark_proxy.bench.targets import CannotRun, find_wasmtime


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are looked for."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no program `wasmtime`"),
        (b"\x7fELF of another machine", "cannot be run"),
        (b"#!/no/such/interpreter\n", "cannot be run"),
        (b"#!/bin/sh\necho 'GLIBC_2.99 not found' >&2\nexit 1\n", "--version failed: GLIBC_2.99 not found"),
        (b"#!/bin/sh\nexit 3\n", "--version failed: status 3"),
    ],
)
def test_a_wasmtime_that_does_not_run(folder: Path, content: bytes | None, reason: str) -> None:
    """A wasmtime that is missing, or not for this machine, is told in one sentence."""
    if content is not None:
        (folder / "wasmtime").write_bytes(content)
        (folder / "wasmtime").chmod(0o755)
    with pytest.raises(CannotRun) as caught:
        find_wasmtime()
    assert reason in str(caught.value)


def test_a_wasmtime_that_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says its version is taken, also without a PATH."""
    (folder / "wasmtime").write_bytes(b"#!/bin/sh\necho wasmtime 50\n")
    (folder / "wasmtime").chmod(0o755)
    monkeypatch.delenv("PATH")
    assert find_wasmtime() == str(folder / "wasmtime")
