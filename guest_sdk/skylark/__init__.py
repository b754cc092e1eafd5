"""The guest SDK of Skylark: functions whose state travels with them. Standard library only."""

from skylark.context import Context, Request, Response
from skylark.errors import (
    Conflict,
    Forbidden,
    Internal,
    InvalidArgument,
    InvalidKey,
    NotFound,
    SkylarkError,
    TimedOut,
    TooLarge,
    Unavailable,
)
from skylark.functions import function
from skylark.state import Ack, Bundle, Policy, State, Stored

__all__ = [
    "Ack",
    "Bundle",
    "Conflict",
    "Context",
    "Forbidden",
    "Internal",
    "InvalidArgument",
    "InvalidKey",
    "NotFound",
    "Policy",
    "Request",
    "Response",
    "SkylarkError",
    "State",
    "Stored",
    "TimedOut",
    "TooLarge",
    "Unavailable",
    "function",
]
