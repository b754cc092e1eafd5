"""`python -m skylark_flatten`: makes a component one core module."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from skylark_flatten.errors import FlattenError
from skylark_flatten.flatten import flatten


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m skylark_flatten", description=__doc__)
    parser.add_argument("component", type=Path, help="a component of wasi:cli/command, made by componentize-py")
    parser.add_argument("-o", "--output", type=Path, help="the module (default: COMPONENT with .core.wasm)")
    options = parser.parse_args(arguments)
    output = options.output or options.component.with_suffix(".core.wasm")
    try:
        flattened = flatten(options.component.read_bytes(), lambda step: print(step, file=sys.stderr))
        output.write_bytes(flattened.module)
    except (FlattenError, OSError) as error:
        print(f"{options.component}: {error}", file=sys.stderr)
        return 1
    needs = f"WebAssembly 2.0 and {len(flattened.imports)} functions of WASI preview 1"
    print(f"{output}: {len(flattened.module) / 1e6:.1f} MB; needs {needs}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
