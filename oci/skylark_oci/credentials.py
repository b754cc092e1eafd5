"""Credentials for registries, from where Docker and Podman keep them.

Sources, the first that has the registry wins (containers-auth.json(5)): the file `$REGISTRY_AUTH_FILE` alone, where it
is set; else `${XDG_RUNTIME_DIR}/containers/auth.json`, `${XDG_CONFIG_HOME}/containers/auth.json`, and Docker's
`${DOCKER_CONFIG}/config.json`.
"""

import base64
import binascii
import codecs
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from skylark_oci.errors import InvalidCredentials

DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_DOCKER_HUB_SERVER = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105
"""A credential helper's user name for a secret that is an identity token (docker-credential-helpers)."""

_NO_CREDENTIALS = "credentials not found"
_HELPER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_HELPER_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who someone is to a registry: a user and a password, or an identity token to exchange for others."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The header `Authorization` of the scheme Basic (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class _Entry(msgspec.Struct, rename="lower"):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None


class _File(msgspec.Struct, rename="camel"):
    """A file of credentials. Programs in Go write what is empty as null."""

    auths: dict[str, _Entry | None] | None = None
    cred_helpers: dict[str, str | None] | None = None
    creds_store: str | None = None


class _Answer(msgspec.Struct, rename="pascal"):
    username: str
    secret: str


def find_credentials(
    host: str, repository: str, environment: Mapping[str, str] = os.environ
) -> tuple[Credentials, str] | None:
    """The credentials for a repository and the source that has them; None: there are none, and it is asked without.

    Raises:
        InvalidCredentials: A file is damaged, or a helper is missing or fails.
    """
    for path in auth_files(environment):
        if path.is_file():
            found = _in_file(path, host, repository, environment)
            if found is not None:
                return found
    return None


def auth_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """The files to look at, in order."""
    explicit = environment.get("REGISTRY_AUTH_FILE")
    if explicit:
        if not Path(explicit).is_file():
            raise InvalidCredentials(f"REGISTRY_AUTH_FILE={explicit}", "no such file")
        yield Path(explicit)
        return
    home = Path(environment.get("HOME") or Path.home())
    if environment.get("XDG_RUNTIME_DIR"):
        yield Path(environment["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"
    yield Path(environment.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def _in_file(path: Path, host: str, repository: str, environment: Mapping[str, str]) -> tuple[Credentials, str] | None:
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8).strip()
        file = (msgspec.json.decode(content, type=_File | None) if content else None) or _File()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidCredentials(str(path), f"not a readable credentials file ({error})") from error
    entries = _by_plain_key(file.auths or {})
    for key, helper in (file.cred_helpers or {}).items():
        if helper and _plain(key) in _names(host):
            found = _ask(helper, key, environment)
            if found is not None:
                return found, f"{path}, helper {helper}"
    for key in _keys(host, repository):
        if key in entries:
            decoded = _decoded(entries[key], f"{path}: {key}")
            if decoded is not None:
                return decoded, str(path)
    if file.creds_store:
        server = _DOCKER_HUB_SERVER if host in DOCKER_HUB else host
        found = _ask(file.creds_store, server, environment)
        return None if found is None else (found, f"{path}, helper {file.creds_store}")
    return None


def _plain(key: str) -> str:
    """A key of `auths` without what Docker wrote into it in its time: a scheme, and `/v1/` or `/v2/` at the end."""
    plain = re.sub(r"^https?://", "", key)
    return re.sub(r"/v[12]/?$|/$", "", plain) if plain == key else plain.partition("/")[0]


def _by_plain_key(auths: Mapping[str, _Entry | None]) -> dict[str, _Entry]:
    """Return the entries by their plain keys; one that is written so already wins over older forms."""
    ordered = sorted(auths.items(), key=lambda item: _plain(item[0]) == item[0])
    return {_plain(key): entry for key, entry in ordered if entry is not None}


def _names(host: str) -> tuple[str, ...]:
    return (host, *(name for name in DOCKER_HUB if name != host)) if host in DOCKER_HUB else (host,)


def _keys(host: str, repository: str) -> Iterator[str]:
    """The keys that a repository's credentials may have, the narrowest first."""
    parts = repository.split("/")
    for count in range(len(parts), -1, -1):
        yield from ("/".join((name, *parts[:count])) for name in _names(host))


def _decoded(entry: _Entry, where: str) -> Credentials | None:
    """The credentials of an entry; None: it is empty, as Docker leaves one where a helper has the secret."""
    if entry.identitytoken:
        return Credentials(identity_token=entry.identitytoken)
    if not entry.auth:
        return Credentials(entry.username, entry.password or "") if entry.username else None
    try:
        username, colon, password = base64.b64decode(entry.auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidCredentials(where, "`auth` is not base64 of user:password") from error
    if not colon:
        raise InvalidCredentials(where, "`auth` is not base64 of user:password")
    return Credentials(username, password.rstrip("\0"))


def _ask(helper: str, server: str, environment: Mapping[str, str]) -> Credentials | None:
    """Asks a helper (docker-credential-helpers, "Development"): the server on stdin, JSON on stdout."""
    name = f"docker-credential-{helper}"
    program = shutil.which(name, path=environment.get("PATH")) if _HELPER_NAME.fullmatch(helper) else None
    if program is None:
        raise InvalidCredentials(name, "no such program in PATH")
    try:
        run = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            check=False,
            timeout=_HELPER_TIMEOUT_S,
            env=dict(environment),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InvalidCredentials(name, str(error)) from error
    output = run.stdout.decode(errors="replace").strip()
    if run.returncode != 0:
        said = output or run.stderr.decode(errors="replace").strip()
        if _NO_CREDENTIALS in said:
            return None
        said = said.partition("\n")[0]
        raise InvalidCredentials(name, f"failed with status {run.returncode}: {said}")
    try:
        answer = msgspec.json.decode(run.stdout, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidCredentials(name, "did not answer with JSON of Username and Secret") from error
    if not (answer.username or answer.secret):
        return None
    if answer.username == _TOKEN_USER:
        return Credentials(identity_token=answer.secret)
    return Credentials(answer.username, answer.secret)
