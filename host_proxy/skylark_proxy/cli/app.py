"""The command `skylark`: its commands put together, and the one way in which they fail."""

import contextlib
import os
import sys
import traceback
from importlib import import_module

import typer

from skylark_oci.errors import PackageError
from skylark_proxy.cli.options import messages
from skylark_proxy.errors import SkylarkError

_COMMANDS = {
    "build": "build_command",
    "package": "package_command",
    "push": "push_command",
    "pull": "pull_command",
    "inspect": "inspect_command",
    "serve": "serve_command",
    "node-info": "node_info_command",
    "run": "run_command",
    "invoke": "invoke_command",
    "objectives": "objectives_command",
    "certs": "certs_command",
    "token": "token_command",
    "elect": "elect_command",
    "bundle": "app",
    "manifests": "manifests_command",
    "deploy": "deploy_command",
    "undeploy": "undeploy_command",
    "demo": "demo_command",
    "testbed": "app",
    "bench": "app",
    "experiment": "app",
}
"""What each command is called in its module, in the order of the help."""

_MODULES = {"undeploy": "deploy"}
"""The modules of commands that do not stand in one of their own name."""

_FAILED = 1
_HELP_COLUMNS = 80


def command_line(wanted: str | None = None) -> typer.Typer:
    """Return the command line with the command that is wanted, or with all of them if there is no such command.

    Importing the other commands takes longer than many a command itself.
    """
    app = typer.Typer(
        name="skylark",
        help="Python functions whose state travels with them: across cloud, edge and satellites.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    app.callback()(lambda: None)  # without it, a single command would be the whole command line
    for name in [wanted] if wanted in _COMMANDS else _COMMANDS:
        module = import_module(f"skylark_proxy.cli.{_MODULES.get(name, name).replace('-', '_')}")
        command = getattr(module, _COMMANDS[name])
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _widen_help() -> None:
    """Let the tables of `--help` be whole on a narrow terminal too, where they would cut off variables and defaults."""
    if "--help" in sys.argv or len(sys.argv) == 1:
        from rich.console import Console
        from typer import rich_utils

        rich_utils.MAX_WIDTH = max(_HELP_COLUMNS, Console().width)


def main() -> None:
    """Run the command. An error is one sentence on stderr and status 1, Ctrl-C is status 130."""
    try:
        try:
            _widen_help()
            command_line(sys.argv[1] if len(sys.argv) > 1 else None)()
        finally:
            sys.stdout.flush()  # here, where a full disk can still be told
    except BrokenPipeError:  # whoever reads has enough; there is nothing to say
        _drop_output()
    except Exception as error:
        _drop_output()
        _tell(error)
    else:
        return
    sys.exit(_FAILED)


def _tell(error: Exception) -> None:
    """Print what went wrong, in a sentence.

    Any other error is a defect of Skylark: the traceback stays visible, as a report of the defect needs it. What a
    library says of a user's input is translated where the library is called.
    """
    if not isinstance(error, SkylarkError | PackageError | OSError | UnicodeError):
        traceback.print_exception(error)
    console = messages()
    console.print("error:", style="red", end=" ")
    console.print(_sentence(error), soft_wrap=True)


def _sentence(error: Exception) -> str:
    match error:
        case SkylarkError() | PackageError():
            return error.message
        case OSError(strerror=str(reason)):
            paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes)]
            return f"{', '.join(paths) or 'the operating system says'}: {reason}"
        case UnicodeEncodeError():
            return f"a text cannot be written in {error.encoding} ({error.reason}); PYTHONIOENCODING=utf-8 may help"
        case UnicodeDecodeError():
            return f"a text is not valid; expected {error.encoding} ({error.reason} at byte {error.start})"
        case OSError() | UnicodeError():
            return " ".join(str(error).split()) or type(error).__name__
    return f"internal error: {type(error).__name__}: {error}; please report it"


def _drop_output() -> None:
    """Close stdout, if it cannot be written: the interpreter would try again at its end, and complain itself."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.close()
