"""What the conformance programs find does not depend on how busy the machine is."""

import asyncio
import json

import pytest

from conformance.programs.asyncio_local import in_order


class BusyLoop(asyncio.SelectorEventLoop):
    """A loop that is held up for 30 ms whenever it looks at the clock."""

    held_up_s = 0.0

    def time(self) -> float:
        self.held_up_s += 0.03
        return super().time() + self.held_up_s


def test_timers_keep_their_order_on_a_busy_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Tasks that begin late still go on in the order of the points in time that they wait for."""
    with asyncio.Runner(loop_factory=BusyLoop) as runner:
        runner.run(in_order())
    assert json.loads(capsys.readouterr().out)["value"] == [0, 1, 2, 3, 4, 5]
