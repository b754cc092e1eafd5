"""What the component exports: `wasi:cli/run`. WASI 0.2.0 knows two endings, success and failure."""

import sys

from componentize_py_types import Err
from wit_command import exports

from conformance.programs import dispatch


class Run(exports.Run):
    """The entry of the component."""

    def run(self) -> None:
        """Runs the program that the arguments name."""
        if dispatch.run(sys.argv[1:]) != 0:
            raise Err(None)
