"""Waiting for nodes that start."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from skylark_proxy import continuum
from skylark_proxy.client import ProxyError
from skylark_proxy.continuum import NodeFailed, RunningNode, wait_until_ready
from skylark_proxy.model import Node, Tier


@dataclass
class Start:
    """A start in a time of its own: each question takes ten seconds, and what is logged meanwhile is told."""

    log: Path
    logged: list[str]
    now_s: float = 0.0
    questions: int = 0
    node: Node = field(default_factory=lambda: Node("sat", "127.0.0.1:1", Tier.SAT))
    url: str = "http://127.0.0.1:1"
    alive: bool = True

    def client(self, timeout_s: float) -> "Start":
        assert timeout_s < 10
        return self

    def request(self, _method: str, path: str) -> None:
        assert path == "/health/readiness"
        self.now_s += 10
        self.questions += 1
        if not self.logged:
            return
        with self.log.open("a") as log:
            log.write(self.logged.pop(0))
        raise ProxyError(self.url, None, "refused")

    def log_tail(self) -> str:
        return self.log.read_text()

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, _duration_s: float) -> None:
        pass


def wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuum, "time", start)
    wait_until_ready(cast(RunningNode, start))


def test_a_node_that_loads_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may take as long as it does while its log says that it goes on."""
    start = Start(tmp_path / "log", ["loading\n"] * 50)
    wait(start, monkeypatch)
    assert start.questions == 51


def test_a_node_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that neither serves nor logs anything is given up, with the end of its log."""
    start = Start(tmp_path / "log", ["starting\n"] + [""] * 50)
    with pytest.raises(NodeFailed, match=r"(?s)node sat is not ready after 90 s.*starting"):
        wait(start, monkeypatch)
    assert start.questions < 20
