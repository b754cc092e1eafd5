"""The command `skylark` as a user runs it: in a process of its own, with its output and exit status."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from continuum import TOPOLOGIES, LiveNode, Nodes, processes_of
from servers import free_port, is_running, wait_for
from skylark_proxy.cli.app import main

FOUR_NODES = str(TOPOLOGIES / "four-nodes.json")
ELECT = ["--from", "sat1", "--to", "cloud1", "--size", "1000"]

Run = subprocess.CompletedProcess[bytes]


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment without settings of Skylark but these, and a terminal wide enough to break no line."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")} | {
        "COLUMNS": "250",
        **settings,
    }


def skylark(
    *arguments: object,
    stdin: bytes = b"",
    cwd: Path | None = None,
    timeout_s: float = 60,
    settings: Mapping[str, str] | None = None,
) -> Run:
    return subprocess.run(
        [sys.executable, "-m", "skylark_proxy", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=clean_environment(**(settings or {})),
        timeout=timeout_s,
        check=False,
    )


Here = Callable[..., Run]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Here:
    """`skylark` without a process of its own: for the many cases whose start would take longer than they do."""
    for name in [name for name in os.environ if name.startswith("SKYLARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "250")

    def run(*arguments: object) -> Run:
        command = ["skylark", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        capfdbinary.readouterr()
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        output, errors = capfdbinary.readouterr()
        return Run(command, status, output, errors)

    return run


def done(run: Run) -> str:
    """What a command that succeeded printed to stdout."""
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout.decode()


def refused(run: Run, *named: str, status: int = 1) -> str:
    """Checks that a command failed with one clear error that names all of `named`, and printed nothing else."""
    text = run.stderr.decode()
    assert run.returncode == status, text
    assert "Traceback" not in text
    assert run.stdout == b""
    for name in named:
        assert name in text
    return text


COMMANDS = {
    "": [
        "build", "package", "push", "pull", "inspect", "serve", "node-info", "run", "invoke", "elect", "bundle",
        "manifests", "deploy", "undeploy", "demo", "testbed", "bench", "experiment", "certs", "objectives", "token",
    ],
    "certs": ["FOLDER", "--topology", "--node", "--days"],
    "objectives": ["--url", "--max-latency-ms", "--min-bandwidth-mbps", "--json"],
    "token": ["NAME", "--chains"],
    "build": ["SOURCE", "--output", "--path", "--json"],
    "package": [
        "COMPONENT", "--output", "--tag", "--title", "--version", "--source", "--description", "--licenses", "--json",
        "--target", "--path", "--aot", "--optimize", "--native-cpu", "--wasmedge",
    ],
    "push": ["LAYOUT", "HOST", "--form", "--plain-http", "--json"],
    "pull": ["HOST", "--output", "--plain-http", "--json"],
    "inspect": ["SUBJECT", "--plain-http", "--json"],
    "serve": ["--node", "--topology", "--host", "--port", "--redis-url", "--data-dir", "--max-latency-ms", "--policy"],
    "run": ["SOURCE", "--native", "--url", "--host", "--port", "--plain-http"],
    "invoke": [
        "--input", "--data", "--key", "--chain", "--content-type", "--destination", "--policy", "--url", "--json",
    ],
    "elect": [
        "--from", "--to", "--size", "--max-latency-ms", "--min-bandwidth-mbps", "--policy", "--at", "--seed", "--json",
    ],
    "bundle": ["get", "put", "delete", "list"],
    "bundle get": ["KEY", "--field", "--output", "--url", "--json"],
    "bundle put": ["KEY", "--field", "--destination", "--policy", "--ttl-ms", "--url", "--json"],
    "bundle delete": ["KEY", "--url"],
    "bundle list": ["CHAIN", "--url", "--json"],
    "demo": ["--image", "--output", "--max-latency-ms", "--policy", "--kill", "--stay", "--json"],
    "testbed": [
        "up", "down", "status", "exec", "logs", "fault", "slow", "kill", "restart", "advance", "example", "check",
    ],
    "testbed up": ["FILE", "--detach", "--keep", "--folder"],
    "testbed exec": ["NODE", "COMMAND", "--folder"],
    "testbed slow": ["A", "B", "--latency-ms", "--bandwidth-mbps", "--folder"],
    "testbed fault": ["cut", "heal"],
    "testbed check": ["FILE", "--json"],
    "bench": ["state", "store", "invoke", "election", "fusion", "package", "targets"],
    "node-info": [
        "--provider", "--topology", "--node", "--host", "--port", "--max-latency-ms", "--min-bandwidth-mbps",
        "--interval-s", "--seed", "--density",
    ],
}  # fmt: skip


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_help(self, command: str) -> None:
        """Every command explains itself and names its arguments, options or commands."""
        text = done(skylark(*command.split(), "--help"))
        assert f"Usage: {'python -m skylark_proxy' if 'python -m' in text else 'skylark'}" in text
        for name in COMMANDS[command]:
            assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text, re.IGNORECASE), name

    def test_every_command_is_here(self) -> None:
        """The commands that the help lists are those of this table."""
        for command in ("", "bundle", "testbed", "bench"):
            table = done(skylark(*command.split(), "--help")).partition("Commands")[2]
            listed = re.findall(r"^│ ([a-z-]+) {2,}", table, re.M)
            assert sorted(listed) == sorted(COMMANDS[command])

    def test_what_is_no_command(self) -> None:
        """An unknown command or option is a mistake of usage: status 2, and the mistake is named."""
        refused(skylark("fly"), "fly", status=2)
        refused(skylark("elect", "--fly"), "--fly", status=2)


class TestElect:
    def test_as_text(self) -> None:
        """The elected node alone is on stdout, the explanation on stderr."""
        run = skylark("elect", "--topology", FOUR_NODES, *ELECT)
        assert done(run) == "sat3\n"
        explanation = run.stderr.decode()
        for part in ("sat1 → cloud1", "first-within-objectives", "latency-exceeded", "160.2 ms", "40 Mbps"):
            assert part in explanation

    def test_as_json(self) -> None:
        """The JSON has the whole election, with the formula's numbers."""
        election = json.loads(done(skylark("elect", "--topology", FOUR_NODES, *ELECT, "--json", "--at", "100")))
        assert (election["elected"], election["at_s"], election["objective_met"]) == ("sat3", 100.0, True)
        first = election["candidates"][0]
        assert (first["node"], first["latency_ms"], first["bandwidth_mbps"]) == ("cloud1", 80.0, 40.0)
        assert first["migration_time_ms"] == pytest.approx(2 * 80 + 8 * 1000 / (1000 * 40))
        assert election["fallbacks"] == ["sat2", "sat1"]

    def test_options(self, here: Here) -> None:
        """Objectives, policies and seeds change the election as they say."""
        assert done(here("elect", "--topology", FOUR_NODES, *ELECT, "--max-latency-ms", "200")) == "cloud1\n"
        assert done(here("elect", "--topology", FOUR_NODES, *ELECT, "--min-bandwidth-mbps", "41")) == "sat1\n"
        assert done(here("elect", "--topology", FOUR_NODES, *ELECT, "--policy", "stateless")) == "cloud1\n"
        random = ["elect", "--topology", FOUR_NODES, *ELECT, "--policy", "random", "--seed"]
        assert done(here(*random, 1)) == done(here(*random, 1))

    @pytest.mark.parametrize(
        ("options", "named", "status"),
        [
            (["--from", "mars"], ["unknown node 'mars'", "cloud1"], 1),
            (["--to", "mars"], ["unknown node 'mars'", "cloud1"], 1),
            (["--size", "-1"], ["size", "-1"], 1),
            (["--size", "many"], ["--size"], 2),
            (["--policy", "best"], ["--policy", "best", "skylark, random, stateless"], 1),
            (["--max-latency-ms", "-1"], ["--max-latency-ms", "-1"], 1),
            (["--max-latency-ms", "nan"], ["--max-latency-ms", "nan"], 1),
            (["--min-bandwidth-mbps", "inf"], ["--min-bandwidth-mbps", "inf"], 1),
            (["--at", "nan"], ["at", "nan"], 1),
        ],
    )
    def test_options_that_make_no_sense(self, here: Here, options: list[str], named: list[str], status: int) -> None:
        """A wrong option is one sentence that names it."""
        refused(here("elect", "--topology", FOUR_NODES, *ELECT, *options), *named, status=status)

    def test_a_missing_option(self, here: Here) -> None:
        """What has no default has to be given."""
        refused(here("elect", "--topology", FOUR_NODES, "--from", "sat1", "--size", "1"), "--to", status=2)

    @pytest.mark.parametrize(
        ("content", "named"),
        [
            ("", "topology"),
            ("{", "topology"),
            ("[]", "object"),
            ('{"edges": 1}', "edges"),
            ('{"edges": [{}]}', "edges[0]"),
            ('{"edges": [{"source": {"node_name": "a", "node_ip": "h", "node_type": "Sat"}}]}', "edges[0]"),
        ],
    )  # fmt: skip
    def test_files_that_are_no_topology(self, here: Here, tmp_path: Path, content: str, named: str) -> None:
        """A file that is no topology is refused with the place of the mistake."""
        file = tmp_path / "topology.json"
        file.write_text(content)
        refused(here("elect", "--topology", file, *ELECT), named)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("latency", -1),
            ("latency", "fast"),
            ("bandwidth", 0),
            ("bandwidth", None),
            ("source", "sat1"),
            ("target.node_name", "a:b"),
            ("target.node_ip", ""),
            ("target.node_type", "Moon"),
            ("from", "soon"),
        ],
    )
    def test_values_that_are_wrong(self, here: Here, tmp_path: Path, path: str, value: object) -> None:
        """A wrong value is named by its path in the file."""
        document: dict[str, Any] = json.loads(Path(FOUR_NODES).read_text())
        holder: Any = document["edges"][1]
        *folders, last = path.split(".")
        for folder in folders:
            holder = holder[folder]
        holder[last] = value
        file = tmp_path / "topology.json"
        file.write_text(json.dumps(document))
        refused(here("elect", "--topology", file, *ELECT), f"edges[1].{path}")

    def test_files_that_cannot_be_read(self, here: Here, tmp_path: Path) -> None:
        """A file that is missing, a folder, or not text is named with the reason."""
        refused(here("elect", "--topology", tmp_path / "none.json", *ELECT), "none.json", "No such file")
        refused(here("elect", "--topology", tmp_path, *ELECT), str(tmp_path), "directory")
        (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
        refused(here("elect", "--topology", tmp_path / "binary.json", *ELECT), "binary.json")


class TestBuild:
    def test_a_source_that_was_built_before(self, components: Mapping[str, Path], tmp_path: Path) -> None:
        """What is in the cache is copied, and the JSON says so."""
        source = Path(__file__).parents[1] / "component" / "functions" / "stateful.py"
        built = json.loads(done(skylark("build", source, "--output", tmp_path / "one.wasm", "--json")))
        assert (built["cached"], built["component"]) == (True, str(tmp_path / "one.wasm"))
        assert built["size_bytes"] == (tmp_path / "one.wasm").stat().st_size
        assert (tmp_path / "one.wasm").read_bytes() == components["stateful"].read_bytes()
        assert "built from the cache" in done(skylark("build", source, "-o", tmp_path / "two.wasm"))

    @pytest.mark.parametrize(
        ("name", "content", "named"),
        [
            ("bad.py", "def f(:\n", ["bad.py:1", "invalid syntax"]),
            ("lost.py", "import skylark\nimport nothing_at_all\n", ["lost.py:2", "nothing_at_all", "--path"]),
            ("native.py", "import skylark\nimport msgspec\n", ["native.py:2", "msgspec", "native extension"]),
            ("guest.py", "import skylark, ssl\n", ["guest.py:1", "ssl"]),
            ("json.py", "import skylark\n", ["json.py", "a module of its own"]),
            ("a-b.py", "import skylark\n", ["a-b.py", "letters, digits and _"]),
            ("f.txt", "", ["f.txt", "*.py"]),
        ],
    )
    def test_sources_that_cannot_be_built(self, tmp_path: Path, name: str, content: str, named: list[str]) -> None:
        """What is wrong with a source is said at once, with its file and line, and no component is left."""
        (tmp_path / name).write_text(content)
        refused(skylark("build", tmp_path / name), *named)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_a_source_that_does_not_exist(self, tmp_path: Path) -> None:
        """A missing source is named."""
        refused(skylark("build", tmp_path / "none.py"), "none.py", "an existing Python file")

    def test_a_source_that_fails_when_it_is_imported(self, tmp_path: Path) -> None:
        """What only the build finds out has a traceback with the source's own file and line, and none of the host's."""
        source = tmp_path / "late.py"
        source.write_text("import skylark\n\n\ndef f():\n    return 1 / 0\n\n\nf()\n")
        run = skylark("build", source)
        text = run.stderr.decode()
        assert (run.returncode, run.stdout) == (1, b"")
        assert f'File "{source}", line 5, in f' in text
        assert "ZeroDivisionError" in text and "skylark_proxy" not in text
        assert not (tmp_path / "late.wasm").exists()


class TestBundle:
    def test_a_bundle_from_end_to_end(self, nodes: Nodes, chain: str, tmp_path: Path) -> None:
        """Put prints the key, get its metadata or a field's bytes, list the bundles; delete leaves nothing."""
        url = ["--url", nodes["sat1"].url]
        picture = tmp_path / "picture.bin"
        picture.write_bytes(bytes(range(256)) * 1000)
        put = skylark("bundle", "put", f"{chain}:t1", "-f", "note=größer", "-f", f"picture=@{picture}", *url)
        key = done(put).strip()
        assert key == f"{chain}:sat3:t1"
        version = int(nodes["sat1"].http.head(f"/bundles/{key}").headers["etag"].strip('"'))
        assert done(skylark("bundle", "get", key, *url)).splitlines() == [
            f"{key}  version {version}, made by sat1, 1 hops", "  note: 8 bytes", "  picture: 256000 bytes",
        ]  # fmt: skip
        assert skylark("bundle", "get", key, "--field", "picture", *url).stdout == picture.read_bytes()
        info = json.loads(done(skylark("bundle", "get", key, "--json", "-o", tmp_path / "out", *url)))
        assert (info["key"], info["fields"]) == (key, {"note": 8, "picture": 256_000})
        assert (tmp_path / "out" / "picture").read_bytes() == picture.read_bytes()
        at_sat3 = ["--url", nodes["sat3"].url]
        assert [one["key"] for one in json.loads(done(skylark("bundle", "list", chain, "--json", *at_sat3)))] == [key]
        assert key in done(skylark("bundle", "list", chain, *at_sat3))
        assert done(skylark("bundle", "delete", key, *url)) == ""
        refused(skylark("bundle", "get", key, *url), key, "sat1, sat3)")
        refused(skylark("bundle", "delete", key, *url), key)

    def test_placement_options(self, nodes: Nodes, chain: str) -> None:
        """Destination, policy and time to live go with the request, and the JSON is the placement."""
        options = ["--destination", "sat2", "--policy", "stateless", "--ttl-ms", "60000", "--json"]
        run = skylark(
            "bundle", "put", f"{chain}:t1", "-f", "a=1", *options, settings={"SKYLARK_PROXY_URL": nodes["sat1"].url}
        )
        placed = json.loads(done(run))
        assert (placed["key"], placed["election"]["policy"]) == (f"{chain}:sat2:t1", "stateless")
        assert "skylark-ttl-ms" in nodes["sat2"].http.get(f"/bundles/{chain}:t1").headers

    @pytest.mark.parametrize(
        ("arguments", "named", "status"),
        [
            (["put", "one", "-f", "a=1"], ["key", "one"], 1),
            (["put", "a:b", "-f", "a"], ["--field", "NAME=TEXT"], 1),
            (["put", "a:b", "-f", "a:b=1"], ["--field", "a:b"], 1),
            (["put", "a:b", "-f", "a=@/nowhere"], ["--field", "/nowhere", "No such file"], 1),
            (["put", "a:b", "-f", "a=1", "-f", "a=2"], ["--field", "a"], 1),
            (["put", "a:b", "-f", "a=1", "--policy", "best"], ["--policy", "best"], 1),
            (["put", "a:b", "-f", "a=1", "--destination", "mars"], ["mars"], 1),
            (["put", "a:b", "-f", "a=1", "--ttl-ms", "0"], ["--ttl-ms"], 2),
            (["put", "a:b"], ["--field"], 2),
            (["get", "one"], ["key", "one"], 1),
            (["get", "gone:t1"], ["gone:t1"], 1),
            (["get", "a:b", "--field", "x:y"], ["--field", "x:y"], 1),
            (["delete", "a:b:c:d"], ["key", "a:b:c:d"], 1),
            (["list", "a:b"], ["chain", "a:b"], 1),
        ],
    )
    def test_what_is_wrong(self, here: Here, nodes: Nodes, arguments: list[str], named: list[str], status: int) -> None:
        """A wrong argument is one sentence that names it, and nothing is stored."""
        before = [node.held("a") for node in nodes.values()]
        refused(here("bundle", *arguments, "--url", nodes["sat1"].url), *named, status=status)
        assert [node.held("a") for node in nodes.values()] == before

    def test_a_field_that_the_bundle_does_not_have(self, here: Here, nodes: Nodes, chain: str) -> None:
        """Asking for bytes that are not there fails, and prints none."""
        key = nodes["sat1"].client.put_bundle(f"{chain}:t1", {"a": b"1"})["key"]
        refused(here("bundle", "get", key, "--field", "b", "--url", nodes["sat1"].url), "--field", "'b'", key)


class TestInvoke:
    def test_a_chain(self, nodes: Nodes) -> None:
        """The report's key and timings are on stderr; the function's own answer, byte for byte, on stdout."""
        url = ["--url", nodes["sat1"].url]
        first = skylark("invoke", "produce", "--data", "100", *url)
        assert done(first) == ""
        key = re.search(r"^key: (\S+)$", first.stderr.decode(), re.M)
        assert key is not None
        assert re.search(r"T\(f\) [0-9.]+ ms, T\(ex\) [0-9.]+ ms, T\(dr\)", first.stderr.decode())
        second = skylark("invoke", "relay", "--input", "-", "--key", key[1], *url, stdin=b"\x00\xff body")
        assert (second.returncode, second.stdout) == (0, b"\x00\xff body")
        own = re.search(r"^key: (\S+)$", second.stderr.decode(), re.M)
        assert own is not None and own[1].split(":")[0] == key[1].split(":")[0]

    def test_as_json(self, nodes: Nodes, chain: str) -> None:
        """The report is the one of `/tasks`, also where the function answers itself."""
        url = ["--url", nodes["sat1"].url]
        for function in ("produce", "relay"):
            run = skylark("invoke", function, "-d", "7", "--chain", chain, "--destination", "sat2", "--json", *url)
            report = json.loads(done(run))
            assert (report["functions"], report["chain_id"], report["error"]) == ([function], chain, None)
            assert report == nodes["sat1"].client.task(report["task_id"])

    def test_a_function_that_raises(self, nodes: Nodes) -> None:
        """Its traceback and one sentence are on stderr, nothing on stdout; the status is 1."""
        for options in ([], ["--json"]):
            run = skylark("invoke", "raises", "--url", nodes["sat1"].url, *options)
            text = run.stderr.decode()
            assert (run.returncode, run.stdout) == (1, b"")
            assert 'raise ZeroDivisionError("on purpose: größer als ∞")' in text
            assert "error: function 'raises' failed (ZeroDivisionError)" in text
            assert "skylark_proxy" not in text

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["nothing"], ["nothing"]),
            (["relay+alarm"], ["same component"]),
            (["relay", "--key", "gone:t1"], ["gone:t1"]),
            (["relay", "--key", "one"], ["key", "one"]),
            (["relay", "--policy", "best"], ["--policy", "best"]),
            (["relay", "--destination", "mars"], ["mars"]),
            (["relay", "--chain", "a:b"], ["chain", "a:b"]),
            (["relay", "--input", "/nowhere"], ["--input", "/nowhere", "No such file"]),
            (["relay", "--input", "-", "--data", "x"], ["--data", "either --input or --data"]),
            (["loop_for_ever"], ["loop_for_ever", "700 ms"]),
        ],
    )
    def test_what_is_wrong(self, here: Here, nodes: Nodes, arguments: list[str], named: list[str]) -> None:
        """What goes wrong is one sentence that names it."""
        refused(here("invoke", *arguments, "--url", nodes["sat1"].url), *named)

    @pytest.mark.parametrize(
        "arguments",
        [["invoke", "f"], ["bundle", "get", "a:b"], ["bundle", "put", "a:b", "-f", "a=1"], ["bundle", "list", "a"]],
    )
    def test_a_proxy_that_is_not_there(self, here: Here, arguments: list[str]) -> None:
        """A proxy that cannot be reached is named by its URL."""
        url = f"http://127.0.0.1:{free_port()}"
        refused(here(*arguments, "--url", url), url, "cannot be reached", "Connection refused")

    def test_a_url_that_is_none(self, here: Here) -> None:
        """What is no URL of a proxy is refused."""
        for url in ("127.0.0.1:30002", "ftp://a", "http://", "http://a:port"):
            refused(here("invoke", "f", "--url", url), url.rstrip("/"))


@contextlib.contextmanager
def started(folder: Path, *arguments: object, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A command that goes on until it is ended, with its output in a file; its folders and data lie in `folder`."""
    (folder / "tmp").mkdir(exist_ok=True)
    log = folder / "log"
    environment = clean_environment(TMPDIR=str(folder / "tmp"), SKYLARK_DATA_DIR=str(folder / "data"), **settings)
    command = [sys.executable, "-m", "skylark_proxy", *map(str, arguments)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, cwd=folder)
    try:
        yield process, log
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def address_in(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that a command says it serves at, once it does."""
    pattern = re.compile(r"serves (http://\S+?),")
    wait_for(lambda: process.poll() is not None or bool(pattern.search(log.read_text())), "it says where it serves", 60)
    found = pattern.search(log.read_text())
    assert found is not None, log.read_text()
    return found[1]


class TestRun:
    @pytest.mark.parametrize("kind", ["source", "component"])
    def test_a_function_is_hosted_until_ctrl_c(self, components: Mapping[str, Path], tmp_path: Path, kind: str) -> None:
        """`run` hosts a source or a component at a free port; Ctrl-C ends it with status 0 and leaves nothing."""
        source = Path(__file__).parents[1] / "component" / "functions" / "stateful.py"
        what = source if kind == "source" else components["stateful"]
        with started(tmp_path, "run", what, "--port", "0") as (process, log):
            url = address_in(process, log)
            assert int(url.rpartition(":")[2]) > 0
            assert done(skylark("invoke", "relay", "-d", "hello", "--url", url)) == "hello"
            key = json.loads(done(skylark("invoke", "produce", "-d", "9", "--json", "--url", url)))["key"]
            assert "1 bytes" not in done(skylark("bundle", "get", key, "--url", url))
            children = [pid for pid in processes_of(str(tmp_path)) if pid != process.pid]
            assert children
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
            assert not any(is_running(pid) for pid in children)
            assert list((tmp_path / "tmp").iterdir()) == []
            assert "Traceback" not in log.read_text()

    def test_sources_that_cannot_run(self, tmp_path: Path) -> None:
        """A source that cannot be built or read is one sentence, and nothing is left running."""
        (tmp_path / "bad.py").write_text("def f(:\n")
        refused(skylark("run", tmp_path / "bad.py", "--port", "0"), "bad.py:1")
        refused(skylark("run", tmp_path / "none.py", "--port", "0"), "none.py")
        refused(skylark("run", "--native", tmp_path / "none.py"), "none.py")
        (tmp_path / "text.wasm").write_text("no component")
        text = skylark("run", tmp_path / "text.wasm", "--port", "0").stderr.decode()
        assert "text.wasm" in text and "Traceback" not in text


class TestServe:
    @pytest.mark.parametrize(
        ("settings", "arguments", "named"),
        [
            ({"SKYLARK_PORT": "http"}, [], ["SKYLARK_PORT='http'", "0 to 65535"]),
            ({"SKYLARK_PORT": "65536"}, [], ["SKYLARK_PORT='65536'"]),
            ({"SKYLARK_NODE": "a:b"}, [], ["SKYLARK_NODE='a:b'"]),
            ({"SKYLARK_POLICY": "best"}, [], ["SKYLARK_POLICY='best'", "skylark, random, stateless"]),
            ({"SKYLARK_MAX_LATENCY_MS": "-1"}, [], ["SKYLARK_MAX_LATENCY_MS='-1'"]),
            ({"SKYLARK_KEEP_FETCHED": "perhaps"}, [], ["SKYLARK_KEEP_FETCHED='perhaps'"]),
            ({"SKYLARK_REDIS_FSYNC": "never"}, [], ["SKYLARK_REDIS_FSYNC='never'", "always, everysec"]),
            ({"SKYLARK_WORKERS": "0"}, [], ["SKYLARK_WORKERS='0'"]),
            ({"SKYLARK_SPEED": "1"}, [], ["SKYLARK_SPEED", "a known setting"]),
            ({"SKYLARK_REDIS_URL": "nonsense"}, [], ["redis", "nonsense"]),
            ({"SKYLARK_REDIS_URL": "redis://app:p@ss#w/r@127.0.0.1:6379"}, [], ["encode the user and the password"]),
            ({"SKYLARK_HOST": "not an address"}, [], ["SKYLARK_HOST", "not an address"]),
            ({}, ["--host", "203.0.113.1"], ["SKYLARK_HOST", "203.0.113.1"]),
            ({}, ["--port", "-1"], ["SKYLARK_PORT='-1'"]),
            ({}, ["--node", "a:b"], ["SKYLARK_NODE='a:b'"]),
            ({}, ["--max-latency-ms", "nan"], ["SKYLARK_MAX_LATENCY_MS='nan'"]),
            ({}, ["--policy", "best"], ["--policy", "best"]),
            ({}, ["--topology", "/nowhere.json"], ["/nowhere.json"]),
            ({}, ["--topology", FOUR_NODES, "--node", "mars"], ["SKYLARK_NODE='mars'", "cloud1, sat1"]),
            (
                {"SKYLARK_DESTINATION": "mars"},
                ["--topology", FOUR_NODES, "--node", "sat1"],
                ["SKYLARK_DESTINATION='mars'"],
            ),
            ({}, ["/nowhere.wasm"], ["/nowhere.wasm"]),
            ({}, ["--data-dir", "/proc/nothing"], ["SKYLARK_DATA_DIR='/proc/nothing'"]),
        ],
    )
    def test_bad_settings(
        self, tmp_path: Path, settings: dict[str, str], arguments: list[str], named: list[str]
    ) -> None:
        """A setting that is not valid ends the start with one sentence that names it."""
        given = {"SKYLARK_DATA_DIR": str(tmp_path / "data"), "SKYLARK_PORT": "0"} | settings
        text = skylark("serve", *arguments, cwd=tmp_path, timeout_s=15, settings=given)
        message = text.stderr.decode()
        assert (text.returncode, text.stdout) == (1, b""), message
        assert "Traceback" not in message
        for name in named:
            assert name in message
        assert processes_of(str(tmp_path)) == []

    def test_a_redis_that_is_not_there(self, tmp_path: Path) -> None:
        """An external Redis that cannot be reached ends the start, and the error has its address."""
        port = free_port()
        run = skylark("serve", "--port", "0", "--redis-url", f"redis://127.0.0.1:{port}", cwd=tmp_path)
        assert run.returncode == 1
        assert str(port) in run.stderr.decode()
        assert "Traceback" not in run.stderr.decode()

    def test_a_port_that_is_taken(self, tmp_path: Path, nodes: Nodes) -> None:
        """A port in use is said before Redis or anything else was started."""
        host, _, port = nodes["sat1"].node.address.rpartition(":")
        given = {"SKYLARK_DATA_DIR": str(tmp_path / "data")}
        run = skylark("serve", "--host", host, "--port", port, cwd=tmp_path, settings=given)
        refused(run, "SKYLARK_PORT", f"{host}:{port}", "in use")
        assert not (tmp_path / "data").exists()

    def test_a_file_with_settings(self, tmp_path: Path) -> None:
        """Settings are read from `.env`; the environment wins over it, and an option over both."""
        (tmp_path / ".env").write_text("SKYLARK_NODE=from-file\nSKYLARK_PORT=0\nSKYLARK_LOG_FORMAT=json\n")
        with started(tmp_path, "serve", "--node", "from-option", SKYLARK_NODE="from-environment") as (process, log):
            address_in(process, log)
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            assert any("node from-option serves" in line["message"] for line in lines)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0

    @pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
    def test_ipv6(self, tmp_path: Path) -> None:
        """A node can listen on an IPv6 address, and says it as a URL that can be used."""
        with started(tmp_path, "serve", "--host", "::1", "--port", "0") as (process, log):
            url = address_in(process, log)
            assert url.startswith("http://[::1]:")
            key = done(skylark("bundle", "put", "chain:t1", "-f", "a=1", "--url", url)).strip()
            assert skylark("bundle", "get", key, "--field", "a", "--url", url).stdout == b"1"


def test_the_nodes_came_through_it(nodes: Nodes) -> None:
    """No command made a node meet what it did not expect."""
    unexpected: list[LiveNode] = [node for node in nodes.values() if "Traceback" in node.log()]
    assert unexpected == []
