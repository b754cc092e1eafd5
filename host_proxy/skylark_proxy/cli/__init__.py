"""The command `skylark`."""

from skylark_proxy.cli.app import main

__all__ = ["main"]
