"""The command `skylark`: its commands put together, and the one way in which they fail."""

import contextlib
import os
import sys
import traceback

import typer
from rich.console import Console
from typer import rich_utils

from skylark_oci import PackageError
from skylark_proxy.cli import (
    bench,
    build,
    bundle,
    certs,
    demo,
    deploy,
    elect,
    experiment,
    inspect,
    invoke,
    manifests,
    node_info,
    objectives,
    package,
    pull,
    push,
    run,
    serve,
    testbed,
    token,
)
from skylark_proxy.cli.options import messages
from skylark_proxy.errors import SkylarkError

app = typer.Typer(
    name="skylark",
    help="Python functions whose state travels with them: across cloud, edge and satellites.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("build")(build.build_command)
app.command("package")(package.package_command)
app.command("push")(push.push_command)
app.command("pull")(pull.pull_command)
app.command("inspect")(inspect.inspect_command)
app.command("serve")(serve.serve_command)
app.command("node-info")(node_info.node_info_command)
app.command("run")(run.run_command)
app.command("invoke")(invoke.invoke_command)
app.command("objectives")(objectives.objectives_command)
app.command("certs")(certs.certs_command)
app.command("token")(token.token_command)
app.command("elect")(elect.elect_command)
app.add_typer(bundle.app, name="bundle")
app.command("manifests")(manifests.manifests_command)
app.command("deploy")(deploy.deploy_command)
app.command("undeploy")(deploy.undeploy_command)
app.command("demo")(demo.demo_command)
app.add_typer(testbed.app, name="testbed")
app.add_typer(bench.app, name="bench")
app.add_typer(experiment.app, name="experiment")

_FAILED = 1
_HELP_COLUMNS = 80
# On a narrower terminal the tables of `--help` would cut off the names of variables and defaults.
rich_utils.MAX_WIDTH = max(_HELP_COLUMNS, Console().width)


def main() -> None:
    """Run the command. An error is one sentence on stderr and status 1, Ctrl-C is status 130."""
    try:
        try:
            app()
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
