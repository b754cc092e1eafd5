"""The command without the extra `experiments`."""

import subprocess
import sys

import pytest

from skylark_proxy.errors import InvalidArgument
from skylark_testbed.experiments.extras import needed


def test_what_is_missing_is_said() -> None:
    """The error names the package and how to install it."""
    with pytest.raises(InvalidArgument, match=r"'not_there'.*pip install 'skylark\[experiments\]'"):
        needed("not_there", "report")


def test_the_command_starts_without_them() -> None:
    """Nothing of the extra is imported until it is used."""
    blocked = "sys.modules.update(simpy=None, matplotlib=None, jinja2=None)"
    starting = "from skylark_proxy.cli.app import command_line; command_line()"
    code = f"import sys; {blocked}; {starting}; import skylark_testbed.experiments.report"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
