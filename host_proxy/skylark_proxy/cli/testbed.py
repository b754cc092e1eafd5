"""`skylark testbed`."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from skylark_proxy.cli.options import Json, messages, print_json, results
from skylark_proxy.cli.testbed_check import check_command
from skylark_proxy.errors import InvalidArgument, UnknownNode
from skylark_proxy.printable import lines
from skylark_proxy.server import serve, sigterm_as_interrupt
from skylark_testbed.control import (
    Control,
    ControlApi,
    claimed_folder,
    default_folder,
    listen_in,
    prepare_folder,
    status_of,
)
from skylark_testbed.description import load
from skylark_testbed.errors import TestbedError
from skylark_testbed.example_files import examples_directory
from skylark_testbed.testbed import open_testbed

app = typer.Typer(help="A continuum on this machine: nodes, and links that really are slow.", no_args_is_help=True)
fault_app = typer.Typer(help="Cuts links, and heals them.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Option(help="The testbed's folder, for several at once; default: one in the cache folder.")
]
NodeName = Annotated[str, typer.Argument(help="A node.", metavar="NODE")]
One = Annotated[str, typer.Argument(help="The node at one end of a link.", metavar="A")]
Other = Annotated[str, typer.Argument(help="The node at the other end.", metavar="B")]

_LOG = "testbed.log"
_LOG_BYTES = 1 << 16
_POLL_S = 0.05
_STOP_S = 30.0


@app.command("up")
def up_command(
    file: Annotated[Path, typer.Argument(help="The testbed's description; `skylark testbed example` prints one.")],
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; `down` ends it.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder, with data and logs, in the end.")] = False,
    folder: Folder = None,
) -> None:
    """Builds the functions, starts the nodes, and runs until Ctrl-C or `skylark testbed down`.

    A folder that was kept is continued: nodes find their bundles again.
    """
    description = load(file)
    if detach:
        _detach(file, folder or default_folder(), keep)
        return
    with sigterm_as_interrupt(), claimed_folder(folder or default_folder(), keep) as claimed, ExitStack() as stack:
        with messages().status("starting") as status:

            def progress(text: str) -> None:
                status.update(escape(text))
                status.console.print(f"• {text}", style="dim", soft_wrap=True)

            testbed = stack.enter_context(open_testbed(description, claimed, progress))
        listener = stack.enter_context(listen_in(claimed))
        serve(ControlApi(testbed).app(lambda: _print_ready(status_of(testbed))), listener)
        messages().print("ending")


@app.command("down")
def down_command(folder: Folder = None) -> None:
    """Ends the testbed, and returns once nothing of it is left."""
    Control(folder or default_folder()).down()


@app.command("status")
def status_command(folder: Folder = None, as_json: Json = False) -> None:
    """Shows the nodes, the transfers that wait for others, and the links as they are now."""
    status = Control(folder or default_folder()).status()
    if as_json:
        print_json(status)
        return
    nodes = Table("node", "tier", "url", "state", "waiting", box=SIMPLE_HEAD)
    for node in status["nodes"]:
        waiting = "-" if node["waiting"] is None else str(node["waiting"])
        nodes.add_row(
            node["name"], node["tier"], node["url"], "alive" if node["alive"] else Text("ended", "red"), waiting
        )
    links = Table("link", "latency ms", "Mbps", "carried MB", "", box=SIMPLE_HEAD)
    for link in status["links"]:
        carried = ", ".join(f"{size / 1e6:.1f} to {name}" for name, size in link["carried_bytes"].items())
        speed = f"{link['latency_ms']:g}", f"{link['bandwidth_mbps']:g}"
        links.add_row(" – ".join(link["between"]), *speed, carried, "changed" if link["slowed"] else "")
    for pair in status["cut"]:
        links.add_row(" – ".join(pair), "", "", "", Text("cut", "red"))
    for table in (nodes, links):
        results().print(table)
    results().print(f"topology of epoch {status['epoch']}, in {status['folder']}", soft_wrap=True)


@app.command("exec", context_settings={"ignore_unknown_options": True})
def exec_command(
    node: NodeName,
    command: Annotated[list[str], typer.Argument(help="What to run, after --.", metavar="-- COMMAND")],
    folder: Folder = None,
) -> None:
    """Runs a command as on a node: SKYLARK_NODE, SKYLARK_PROXY_URL and SKYLARK_NODE_INFO_URL are that node's."""
    of_node = _node(Control(folder or default_folder()).status(), node)
    environment = os.environ | {
        "SKYLARK_NODE": node,
        "SKYLARK_PROXY_URL": of_node["url"],
        "SKYLARK_NODE_INFO_URL": of_node["node_info_url"],
        **({"SKYLARK_TLS_CA": of_node["ca"]} if of_node["ca"] else {}),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
    }
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606  # it runs instead of this process
    except OSError as error:
        raise InvalidArgument("COMMAND", command[0], f"a program that can be run ({error.strerror})") from error


@app.command("logs")
def logs_command(
    node: Annotated[str, typer.Argument(help="A node, or `network`, the process of the links.", metavar="NODE")],
    folder: Folder = None,
) -> None:
    """Prints the log of a node, of all its starts."""
    status = Control(folder or default_folder()).status()
    path = Path(status["folder"], "network.log") if node == "network" else Path(_node(status, node)["log"])
    typer.echo(lines(path.read_text(errors="replace")), nl=False)


@fault_app.command("cut")
def cut_command(one: One, other: Other, folder: Folder = None) -> None:
    """Cuts a link: connections that have no other way are reset, and new ones refused. Nodes are not told."""
    Control(folder or default_folder()).cut(one, other)


@fault_app.command("heal")
def heal_command(one: One, other: Other, folder: Folder = None) -> None:
    """Makes a link that was cut or slowed what the topology says."""
    Control(folder or default_folder()).heal(one, other)


app.add_typer(fault_app, name="fault")


@app.command("slow")
def slow_command(
    one: One,
    other: Other,
    latency_ms: Annotated[float | None, typer.Option(help="One way.", min=0.0)] = None,
    bandwidth_mbps: Annotated[float | None, typer.Option(help="Of each direction.", min=0.000001)] = None,
    folder: Folder = None,
) -> None:
    """Changes a link's latency or bandwidth until it is healed, also for open connections. Nodes are not told."""
    if latency_ms is None and bandwidth_mbps is None:
        raise InvalidArgument("--latency-ms", None, "a latency, or --bandwidth-mbps")
    Control(folder or default_folder()).slow(one, other, latency_ms, bandwidth_mbps)


@app.command("kill")
def kill_command(node: NodeName, folder: Folder = None) -> None:
    """Ends a node's proxy and Redis as a crash would (SIGKILL)."""
    Control(folder or default_folder()).kill(node)


@app.command("restart")
def restart_command(node: NodeName, folder: Folder = None) -> None:
    """Starts a node again on its data, and returns once it serves."""
    Control(folder or default_folder()).restart(node)


@app.command("advance")
def advance_command(folder: Folder = None) -> None:
    """Has the next topology of a rotation begin, or links drawn anew; prints the epoch."""
    typer.echo(Control(folder or default_folder()).advance())


@app.command("example")
def example_command() -> None:
    """Prints a description with all fields, and what they mean. Its functions are found wherever it is kept."""
    examples = examples_directory()
    text = (examples / "testbeds" / "four-nodes.yaml").read_text()
    typer.echo(text.replace("source: ../", f"source: {examples}/"), nl=False)


app.command("check")(check_command)


def _detach(file: Path, folder: Path, keep: bool) -> None:
    """Starts the testbed in a process of its own, and waits until it is ready."""
    folder = prepare_folder(folder)
    command = [sys.executable, "-m", "skylark_proxy", "testbed", "up", str(file), "--folder", str(folder)]
    command += ["--keep"] if keep else []
    with (folder / _LOG).open("w+b") as log, messages().status("starting") as status:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            while process.poll() is None and not _serves(folder):
                status.update(escape(_last_line(log)))
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            process.terminate()
            process.wait(_STOP_S)
            raise
        if process.returncode is not None:
            raise TestbedError(f"the testbed has ended; the last it said was: {_last_line(log)}")
    process.returncode = 0  # it is to outlive this process, which is no reason to warn
    _print_ready(Control(folder).status())


def _serves(folder: Path) -> bool:
    try:
        Control(folder).status()
    except TestbedError:
        return False
    return True


def _last_line(log: IO[bytes]) -> str:
    """What the process said last; its folder may be gone."""
    lines = os.pread(log.fileno(), _LOG_BYTES, 0).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "starting"


def _node(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    nodes = {node["name"]: node for node in status["nodes"]}
    if name not in nodes:
        raise UnknownNode(name, tuple(nodes))
    node: Mapping[str, Any] = nodes[name]
    return node


def _print_ready(status: Mapping[str, Any]) -> None:
    for node in status["nodes"]:
        typer.echo(f"{node['name']}: {node['url']} ({node['tier']}, process {node['pid']})")
    typer.echo(f"the testbed is ready; its folder is {status['folder']}")
