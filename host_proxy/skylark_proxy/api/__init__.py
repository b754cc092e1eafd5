"""The HTTP surface of a node: parses a request, calls one function, answers."""

from skylark_proxy.api.app import create_app

__all__ = ["create_app"]
