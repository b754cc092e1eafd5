"""Runs a core module: `python -m wasmedge_host [--dir GUEST::HOST] [--env NAME=VALUE] [--interpret] MODULE …`."""

import argparse
import sys
from pathlib import Path

from skylark_proxy.config import Config
from wasmedge_host.host import run


def main() -> int:
    """Parses the command line and runs the module."""
    parser = argparse.ArgumentParser(prog="wasmedge_host")
    parser.add_argument("--dir", action="append", default=[], metavar="GUEST::HOST")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--interpret", action="store_true")
    parser.add_argument("module", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    environment = dict(pair.split("=", 1) for pair in given.env)
    folders = {guest: Path(host) for guest, host in (pair.split("::", 1) for pair in given.dir)}
    cache = Config.load({}).cache_dir / "compiled"
    return run(given.module, given.arguments, environment, folders, cache, given.interpret)


if __name__ == "__main__":
    sys.exit(main())
