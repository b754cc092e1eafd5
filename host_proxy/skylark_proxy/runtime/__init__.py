"""Runs functions in sandboxes. wasmtime's types stay in here."""

from skylark_proxy.runtime.engine import Engine
from skylark_proxy.runtime.functions import Chains, Functions, Loaded, Manifest
from skylark_proxy.runtime.interface import Fetched, Into, Placement, State, Stored, error_case
from skylark_proxy.runtime.sandbox import Invocation, Limits, Outcome, Response
from skylark_proxy.runtime.workers import Workers

__all__ = [
    "Chains",
    "Engine",
    "Fetched",
    "Functions",
    "Into",
    "Invocation",
    "Limits",
    "Loaded",
    "Manifest",
    "Outcome",
    "Placement",
    "Response",
    "State",
    "Stored",
    "Workers",
    "error_case",
]
