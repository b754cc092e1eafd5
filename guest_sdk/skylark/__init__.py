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
from skylark.state import Ack, Bundle, Policy, Read, Staleness, State, Stored

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
    "Read",
    "Request",
    "Response",
    "SkylarkError",
    "Staleness",
    "State",
    "Stored",
    "TimedOut",
    "TooLarge",
    "Unavailable",
    "function",
]
