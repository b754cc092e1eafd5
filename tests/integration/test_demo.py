"""`skylark demo` as a user runs it: pictures with and without a fire, nodes that die in the middle, interrupts."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from continuum import processes_of
from servers import wait_for

pytestmark = pytest.mark.usefixtures("components")
"""The components are in the cache before a demo runs, so that none of these tests waits for builds."""

NODES = ("cloud1", "sat1", "sat2", "sat3")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: a socket's path may not be long, and those of pytest's folders are."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        yield Path(name)


class Demo:
    """A run of the demo in a folder of its own, by whose name all that it starts and makes is found again."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")}
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "skylark_proxy", "demo", *map(str, arguments)],
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=environment | {"TMPDIR": str(self.temporary), "COLUMNS": "200"},
            )

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def ended(self) -> int:
        """The exit status; and nothing that it started or made for itself is left."""
        self._wait_for(lambda: False, "the demo ends", 120)
        status = self.process.wait()
        assert processes_of(str(self.temporary)) == []
        assert list(self.temporary.rglob("*")) == []
        assert "Traceback" not in self.stderr
        return status

    def output(self) -> str:
        """What it printed to stdout, once it has succeeded."""
        assert self.ended() == 0, self.stderr
        return (self.folder / "stdout").read_text()

    def wait_until(self, text: str) -> None:
        """Returns once it says so on stderr."""
        self._wait_for(lambda: text in self.stderr, f"the demo says {text!r}", 60)
        assert self.process.poll() is None, self.stderr

    def _wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until it holds or the demo has ended."""
        wait_for(lambda: self.process.poll() is not None or condition(), what, timeout_s)


def sample(name: str) -> Path:
    """A photograph of scikit-image."""
    spec = find_spec("skimage")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "data", name)


class TestPictures:
    def test_the_sample_raises_the_alarm(self, folder: Path) -> None:
        """A rocket at dusk is a fire: the output says so, says where each function ran and each bundle was put."""
        output = Demo(folder).output()
        assert re.search(r"^FIRE ALARM: \d+ hot spots, best score 0\.\d\d \(io\.skylark\.fire\.alarm\)$", output, re.M)
        assert re.search(r"^ *preprocess +sat1 +[0-9.]+ kB +sat2 +- ", output, re.M)
        assert re.search(r"^ *detect +sat2 +[0-9.]+ kB +sat3 +0 ", output, re.M)
        assert re.search(r"^ *alarm +cloud1 +[0-9.]+ kB +cloud1 +1 ", output, re.M)
        assert "detect's bundle is at sat3: nearest to cloud1 within 100 ms" in output
        assert "instead:" not in output
        annotated = folder / "demo-out" / "rocket-annotated.png"
        with Image.open(annotated) as drawn, Image.open(sample("rocket.jpg")) as original:
            assert drawn.size == original.size
            colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 24) or []}
            assert (0xFF, 0x2D, 0x2D) in colours

    def test_a_day_scene_raises_none(self, folder: Path) -> None:
        """A cup of coffee is no fire, whatever the policy; the picture goes where the option says."""
        target = folder / "new" / "out.jpg"
        output = Demo(folder, "--image", sample("coffee.png"), "--output", target, "--policy", "stateless").output()
        assert re.search(r"^ *detect +sat2 +[0-9.]+ kB +cloud1 .* broken *$", output, re.M)
        assert re.search(r"^no alarm: .*\(io\.skylark\.fire\.clear\)$", output, re.M)
        assert "FIRE" not in output
        with Image.open(target) as drawn:
            assert (drawn.format, drawn.size) == ("JPEG", (600, 400))

    def test_as_json(self, folder: Path) -> None:
        """The JSON has the report of each step, each with its election, and the event; stdout has no more."""
        result: dict[str, Any] = json.loads(Demo(folder, "--json", "--max-latency-ms", "1000").output())
        assert [step["function"] for step in result["steps"]] == ["preprocess", "detect", "alarm"]
        assert [(step["planned"], step["ran_at"]) for step in result["steps"]] == [
            ("sat1", "sat1"), ("sat2", "sat2"), ("cloud1", "cloud1"),
        ]  # fmt: skip
        for step in result["steps"]:
            (placement,) = step["report"]["placements"]
            assert placement["election"]["objectives"]["max_latency_ms"] == 1000
            assert placement["key"].split(":")[1] == placement["election"]["destination"]
        assert (result["event"]["type"], result["events"]) == ("io.skylark.fire.alarm", [])
        assert result["event"]["data"]["chain_id"] == result["chain_id"]
        assert (folder / result["annotated"]).is_file()

    @pytest.mark.parametrize(
        "content", [b"no picture", b"", b"\x89PNG\r\n\x1a\n broken"], ids=["text", "empty", "broken"]
    )
    def test_a_file_that_is_no_picture(self, folder: Path, content: bytes) -> None:
        """What is no picture is said before anything is built or started."""
        file = folder / "picture.png"
        file.write_bytes(content)
        demo = Demo(folder, "--image", file)
        assert demo.ended() == 1
        assert re.search(r"^error: --image: .*picture\.png.* is not valid; expected a picture", demo.stderr, re.M)
        assert "starting" not in demo.stderr

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["--image", "nowhere.png"], ["--image", "nowhere.png", "No such file"]),
            (["--kill", "mars"], ["mars", "cloud1"]),
            (["--policy", "best"], ["--policy", "best"]),
        ],
    )
    def test_what_is_wrong(self, folder: Path, arguments: list[str], named: list[str]) -> None:
        """A wrong option is one sentence that names it, before anything is started."""
        demo = Demo(folder, *arguments)
        assert demo.ended() == 1
        for name in named:
            assert name in demo.stderr
        assert "starting" not in demo.stderr


class TestNodesThatDie:
    def test_the_node_of_the_second_function(self, folder: Path) -> None:
        """sat2 dies with a bundle and a function on it: both are done again elsewhere, and the alarm is raised."""
        output = Demo(folder, "--kill", "sat2").output()
        assert re.search(r"^FIRE ALARM", output, re.M)
        assert "instead: sat2 is away (detect was to run there)" in output
        assert re.search(r"^instead: detect ran at (sat1|sat3|cloud1) instead of sat2$", output, re.M)
        assert not re.search(r"^ *(preprocess|detect|alarm) +sat2 ", output, re.M)

    @pytest.mark.parametrize("killed", ["sat3", "cloud1"])
    def test_a_node_that_was_to_hold_a_bundle_or_run_a_function(self, folder: Path, killed: str) -> None:
        """Whichever node dies, the chain ends with the alarm, at none but the nodes that are left."""
        result = json.loads(Demo(folder, "--kill", killed, "--json").output())
        assert result["event"]["data"]["alarm"] is True
        last = result["steps"][-1]
        assert last["ran_at"] != killed or killed == "sat3"
        if killed == "cloud1":
            assert any(event.startswith("cloud1 is away") for event in result["events"])
            assert any(re.match(r"alarm ran at sat\d instead of cloud1", event) for event in result["events"])


class TestInterrupts:
    @pytest.mark.parametrize("moment", ["building 3 components", "starting 4 nodes", "detect runs at"])
    def test_ctrl_c(self, folder: Path, moment: str) -> None:
        """Ctrl-C at any moment ends the demo with status 130, without a traceback, process or folder left."""
        demo = Demo(folder)
        demo.wait_until(moment)
        demo.process.send_signal(signal.SIGINT)
        assert demo.ended() == 130
        assert not (folder / "demo-out").exists()

    def test_a_demo_that_is_killed(self, folder: Path) -> None:
        """Its nodes and their Redis end with it, even where it could not end them itself."""
        demo = Demo(folder, "--stay")
        demo.wait_until("the nodes run until Ctrl-C")
        assert len(processes_of(str(demo.temporary))) >= 1 + 2 * len(NODES)
        demo.process.kill()
        demo.process.wait()
        wait_for(lambda: processes_of(str(demo.temporary)) == [], "all processes of the demo have ended")

    def test_a_demo_that_stays(self, folder: Path) -> None:
        """With `--stay` the nodes can be asked until Ctrl-C; then the result is printed as always."""
        demo = Demo(folder, "--stay")
        demo.wait_until("the nodes run until Ctrl-C")
        urls = dict(re.findall(r"^(\w+): (http://\S+) ", demo.stderr, re.M))
        assert set(urls) == set(NODES)
        command = [sys.executable, "-m", "skylark_proxy", "invoke", "preprocess", "--url", urls["sat1"], "-i"]
        asked = subprocess.run([*command, sample("coffee.png")], capture_output=True, text=True, check=False)
        assert (asked.returncode, "key: " in asked.stderr) == (0, True), asked.stderr
        demo.process.send_signal(signal.SIGINT)
        assert re.search(r"^FIRE ALARM", demo.output(), re.M)
