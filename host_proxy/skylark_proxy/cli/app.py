"""The command `skylark`: its commands put together, and the one way in which they fail."""

import sys

import typer
from rich.markup import escape

from skylark_oci import PackageError
from skylark_proxy.cli import (
    bench,
    build,
    bundle,
    demo,
    deploy,
    elect,
    experiment,
    inspect,
    invoke,
    manifests,
    node_info,
    package,
    pull,
    push,
    run,
    serve,
    testbed,
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


def main() -> None:
    """Runs the command. An error of Skylark is one sentence on stderr and status 1, Ctrl-C is status 130."""
    try:
        app()
    except (SkylarkError, PackageError) as error:
        messages().print(f"[red]error:[/red] {escape(error.message)}", soft_wrap=True)
        sys.exit(_FAILED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(_FAILED)
