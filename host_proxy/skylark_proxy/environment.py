"""Where settings come from: the process's environment and the file `.env`, without what Kubernetes puts among them."""

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from skylark_proxy.errors import ConfigError

_FILE = Path(".env")

_ENDPOINT = r"(?:tcp|udp|sctp)://.+"
_SERVICE_LINKS = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r".+_SERVICE_HOST", r".*"),
        (r".+_SERVICE_PORT(_.+)?", r"\d*"),
        (r".+_PORT(_\d+_(TCP|UDP|SCTP))?", _ENDPOINT),
        (r".+_PORT_\d+_(TCP|UDP|SCTP)_PROTO", r".*"),
        (r".+_PORT_\d+_(TCP|UDP|SCTP)_PORT", r".*"),
        (r".+_PORT_\d+_(TCP|UDP|SCTP)_ADDR", r".*"),
    )
)
"""What Kubernetes sets in every container for each Service of its namespace: names, and what their values look like.

A Service `skylark-redis` gives `SKYLARK_REDIS_PORT`, and a Service `skylark` even `SKYLARK_PORT`. Source: Kubernetes,
`pkg/kubelet/envvars/envvars.go`.
"""


def read_environment() -> dict[str, str]:
    """Return the process's environment, and below it what the file `.env` in the working directory sets.

    Raises:
        ConfigError: There is a `.env` that cannot be read as text.
    """
    return {name: value for name, value in _read_file().items() if value is not None} | os.environ


def is_service_link(name: str, value: str) -> bool:
    """True if Kubernetes has set this variable for a Service, and it is no setting of ours."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _SERVICE_LINKS)


def _read_file() -> Mapping[str, str | None]:
    try:
        text = _FILE.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise _unreadable(f"is not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise _unreadable(f"cannot be read ({error.strerror})") from error
    return dotenv_values(stream=io.StringIO(text))


def _unreadable(reason: str) -> ConfigError:
    path = str(_FILE.absolute())
    expected = "a text file in UTF-8 with lines NAME=VALUE"
    return ConfigError(".env", path, expected, f"the settings file .env {reason}: {path}; expected {expected}")
