"""`oci/Containerfile` without a container: what it copies is there, and what it installs starts as in there."""

import fnmatch
import json
import os
import re
import shlex
import site
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from servers import free_port, run_redis, wait_for
from skylark_oci.manifests.documents import USER_ID

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "oci" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Containerfile, each with its arguments."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]


def arguments(name: str) -> list[str]:
    """The arguments of all instructions of a name, those of the last stage last."""
    return [rest for instruction, rest in instructions() if instruction == name]


def environment() -> dict[str, str]:
    """The variables of the image."""
    return dict(part.split("=", 1) for part in shlex.split(arguments("ENV")[-1]))


def test_what_it_copies_is_there() -> None:
    """Every file that the build copies exists, and the build gets to see it."""
    sources = [part for rest in arguments("COPY") if "--from" not in rest for part in rest.split()[:-1]]
    assert {"pyproject.toml", "guest_sdk", "host_proxy", "oci", "wit"} <= set(sources)
    lines = (ROOT / ".containerignore").read_text().splitlines()
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in lines
    assert not any(fnmatch.fnmatch(line.removeprefix("!"), "*.venv*") for line in lines if line.startswith("!"))


def test_who_it_runs_as() -> None:
    """It runs as the user that the manifests name, by number, whose folder its cache is."""
    assert arguments("USER") == [f"{USER_ID}:{USER_ID}"]
    folder = environment()["SKYLARK_CACHE_DIR"]
    assert any(f"-o {USER_ID} -g {USER_ID}" in rest and folder in rest for rest in arguments("RUN"))
    assert (environment()["HOME"], arguments("WORKDIR")[-1]) == (folder, folder)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a virtual environment with the wheel; what it depends on comes from the tests' own environment."""
    folder = tmp_path_factory.mktemp("image")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True, timeout=300)
    venv.create(folder / "venv", symlinks=True)
    (wheel,) = folder.glob("skylark-*.whl")
    made = folder / "venv" / "bin" / "python"
    subprocess.run([*pip, "--python", made, "install", "--no-deps", wheel], check=True, timeout=300)
    return made


@contextmanager
def started(python: Path, folder: Path, *command: str, **settings: str) -> Iterator[Path]:
    """Runs a command with the variables of the image; hands out its home, which is its working directory too."""
    home = folder / "home"
    home.mkdir()
    variables = environment() | settings | {"HOME": str(home), "SKYLARK_CACHE_DIR": str(folder / "cache")}
    # the folder by itself: the .pth file of the tests' environment would lead to this checkout
    variables |= {
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["skylark", *command], env=variables, cwd=home, stdout=log, stderr=log)
    try:
        yield home
    finally:
        process.terminate()
        assert process.wait(30) == 0, (folder / "log").read_text()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_the_proxy_starts_from_the_wheel(python: Path, tmp_path: Path) -> None:
    """`serve` is ready with a Redis elsewhere, and has written nothing but its cache."""
    port = str(free_port())
    with run_redis(port=0) as server:
        settings = {"SKYLARK_HOST": "127.0.0.1", "SKYLARK_PORT": port, "SKYLARK_REDIS_URL": server.url}
        with started(python, tmp_path, *shlex.split(arguments("CMD")[-1].strip('[]"')), **settings) as home:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/health/readiness"), "the proxy is ready")
            assert list(home.iterdir()) == []
            assert (healthy(port), healthy(str(free_port()))) == (True, False)


def healthy(port: str) -> bool:
    """What the image's own check says of a proxy on a port."""
    command = json.loads(arguments("HEALTHCHECK")[0].partition("CMD ")[2])
    variables = {"PATH": os.environ["PATH"], "SKYLARK_PORT": port, "SKYLARK_NODE_INFO_PORT": port}
    return subprocess.run(command, env=variables, timeout=60, check=False).returncode == 0


def test_node_info_starts_from_the_wheel(python: Path, tmp_path: Path) -> None:
    """`node-info` serves a topology that the wheel brings, and has written nothing."""
    port = str(free_port())
    library = site.getsitepackages([str(python.parents[1])])[0]
    topology = str(Path(library) / "skylark_testbed" / "examples" / "topologies" / "four-nodes.json")
    settings = {"SKYLARK_NODE_INFO_HOST": "127.0.0.1", "SKYLARK_NODE_INFO_PORT": port, "SKYLARK_NODE": "sat1"}
    with started(python, tmp_path, "node-info", SKYLARK_TOPOLOGY=topology, **settings) as home:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), "node-info serves")
        assert list(home.iterdir()) == []


def test_the_wheel_has_what_the_command_needs(python: Path, tmp_path: Path) -> None:
    """The manifests' example comes with the wheel."""
    variables = {"PYTHONPATH": sysconfig.get_path("purelib"), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [str(python.parent / "skylark"), "manifests", "--example"]
    shown = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout == (ROOT / "oci" / "skylark_oci" / "manifests" / "example.yaml").read_text()
