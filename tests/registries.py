"""Real registries for the tests, Debian's docker-registry on free ports of loopback, and a proxy that breaks things."""

import base64
import http.client
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import load_pem_x509_certificate

from programs import program
from servers import free_port, wait_for

USER, PASSWORD = "alice", "open sesame"
_HTPASSWD = "alice:$2y$04$8RA0DxSCEfweYMRVVPyMn.OzZqfN3pFMSeIzT3975U/Zngo9IqYGe\n"
"""Of that user and password, by bcrypt; made with `htpasswd -nbBC 4`."""

_STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class LiveRegistry:
    """A registry, by its host and port."""

    host: str
    folder: Path
    realm: str = ""
    """Where its token service is, if it wants tokens."""

    def manifests(self) -> list[str]:
        """The digests of the manifests that it has, over all repositories."""
        return sorted(path.parent.name for path in self.folder.rglob("_manifests/revisions/sha256/*/link"))

    def get(self, path: str) -> bytes:
        """What it answers to a plain GET."""
        connection = http.client.HTTPConnection(self.host, timeout=_STOP_S)
        try:
            connection.request("GET", path, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
            return connection.getresponse().read()
        finally:
            connection.close()


@contextmanager
def run_registry(auth: Mapping[str, Any] | None = None) -> Iterator[LiveRegistry]:
    """Runs a registry with its data in a folder of its own.

    Args:
        auth: The part `auth` of its configuration; anybody may do everything if absent.
    """
    command = program("docker-registry", "docker-registry")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="skylark-registry-") as folder:
        config = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}},
            "http": {"addr": f"127.0.0.1:{port}", "relativeurls": True},
        }
        path = Path(folder) / "config.yml"
        path.write_text(json.dumps(config | ({"auth": auth} if auth else {})))  # JSON is YAML
        settings = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        with (Path(folder) / "log").open("ab") as log:
            process = subprocess.Popen(
                [command, "serve", str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=settings
            )
        registry = LiveRegistry(f"127.0.0.1:{port}", Path(folder), (auth or {}).get("token", {}).get("realm", ""))
        try:
            wait_for(lambda: process.poll() is not None or _answers(registry), "docker-registry answers")
            assert process.poll() is None, (Path(folder) / "log").read_text()
            yield registry
        finally:
            process.terminate()
            process.wait(_STOP_S)


def _answers(registry: LiveRegistry) -> bool:
    try:
        registry.get("/v2/")
    except OSError:
        return False
    return True


@contextmanager
def run_registry_with_password() -> Iterator[LiveRegistry]:
    """Runs a registry that wants `USER` and `PASSWORD` by the scheme Basic."""
    with tempfile.TemporaryDirectory(prefix="skylark-htpasswd-") as folder:
        path = Path(folder) / "htpasswd"
        path.write_text(_HTPASSWD)
        with run_registry({"htpasswd": {"realm": "tests", "path": str(path)}}) as registry:
            yield registry


@dataclass
class Tokens:
    """A token service: what it was asked, and what it grants to whom.

    Attributes:
        grants: The actions for each user; "" is who has no credentials.
        identity_token: The token by which USER is known too.
        asked: The users that asked, with the scope.
    """

    grants: dict[str, list[str]] = field(default_factory=lambda: {USER: ["pull", "push"]})
    identity_token: str = "an identity token"
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def run_registry_with_tokens() -> Iterator[tuple[LiveRegistry, Tokens]]:
    """Runs a registry that wants tokens, and the service that gives them (Docker's "Token Authentication")."""
    ca, tokens = trustme.CA(key_type=trustme.KeyType.RSA), Tokens()
    leaf = ca.issue_cert("tokens.example", key_type=trustme.KeyType.RSA)
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    sign = partial(key.sign, padding=padding.PKCS1v15(), algorithm=hashes.SHA256())
    certificate = load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    chain = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()

    class Handler(_Quiet):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
            user, _, password = base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
            if user and (user, password) != (USER, PASSWORD):
                self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]})
            else:
                self.grant(user, query)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if (form["grant_type"], form["refresh_token"]) == (["refresh_token"], [tokens.identity_token]):
                self.grant(USER, form)
            else:
                self.answer(400, {"error": "invalid_grant"})

        def grant(self, user: str, query: Mapping[str, list[str]]) -> None:
            (scope,) = query["scope"]
            tokens.asked.append((user, scope))
            kind, name, wanted = scope.split(":")
            actions = sorted(set(wanted.split(",")) & set(tokens.grants.get(user, [])))
            now = int(time.time())
            claims = {
                "iss": "tests", "sub": user, "aud": query["service"][0], "exp": now + 60, "nbf": now - 60, "iat": now,
                "jti": "1", "access": [{"type": kind, "name": name, "actions": actions}],
            }  # fmt: skip
            header = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
            signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
            signature = sign(signed.encode())
            self.answer(200, {"token": f"{signed}.{_base64url(signature)}"})

    with tempfile.TemporaryDirectory(prefix="skylark-tokens-") as folder, _serving(Handler) as service:
        bundle = Path(folder) / "ca.pem"
        ca.cert_pem.write_to_path(str(bundle))
        auth = {
            "realm": f"http://{service}/token",
            "service": "registry.tests",
            "issuer": "tests",
            "rootcertbundle": str(bundle),
        }
        with run_registry({"token": auth}) as registry:
            yield registry, tokens


Action = Literal["status", "cut", "short", "corrupt", "lose-answer", "refuse"]
"""What a fault does: answers with a status of its own; breaks the connection in the middle of the answer; sends half
of it as if it were all; changes a byte; lets the registry do what was asked, and says nothing; closes at once."""


@dataclass
class Fault:
    """Something that goes wrong with requests, a number of times.

    Attributes:
        method: The method of the requests.
        path: A regular expression that is found in their path.
        times: How often; then all is well.
        status: For `status`, with its headers; several values of one are lines of their own.
    """

    method: str
    path: str
    action: Action
    times: int = 1
    status: int = 503
    headers: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


@dataclass
class FaultyRegistry:
    """Stands before a registry: what is to go wrong, and the requests that came, with their `Range`.

    `authorizations` has the header `Authorization` of each.
    """

    host: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)

    def count(self, method: str, path: str) -> int:
        """How many requests of a method came whose path has something."""
        return sum(one == method and re.search(path, where) is not None for one, where, _ in self.requests)


@contextmanager
def faulty(registry: LiveRegistry) -> Iterator[FaultyRegistry]:
    """Runs a proxy before a registry, in which faults can be set."""
    proxy, lock = FaultyRegistry(), threading.Lock()

    class Handler(_Quiet):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                proxy.requests.append((self.command, self.path, self.headers.get("Range")))
                proxy.authorizations.append(self.headers.get("Authorization"))
                matching = (one for one in proxy.faults if one.times and self._matches(one))
                fault = next(matching, None)
                if fault is not None:
                    fault.times -= 1
            if fault is not None and fault.action == "refuse":
                self.close_connection = True
            elif fault is not None and fault.action == "status":
                self.answer(fault.status, {"errors": [{"code": "X", "message": "not now"}]}, fault.headers)
            else:
                self._forward(body, fault.action if fault else None)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do  # noqa: N815

        def _matches(self, fault: Fault) -> bool:
            return fault.method == self.command and re.search(fault.path, self.path) is not None

        def _forward(self, body: bytes, action: Action | None) -> None:
            # as a proxy of HTTP it is asked for whole URLs: the token service of this machine is another host
            named = urlsplit(self.path).netloc
            host = named if named.startswith("127.") else registry.host
            connection = http.client.HTTPConnection(host, timeout=_STOP_S)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path, body=body or None, headers=headers)
            response = connection.getresponse()
            content = response.read()
            connection.close()
            if action == "lose-answer":
                self.close_connection = True
                return
            if action == "corrupt":
                content = content[:-1] + bytes([content[-1] ^ 1])
            sent = content[: len(content) // 2] if action in ("cut", "short") else content
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            length = len(sent) if action == "short" else len(content)
            self.send_header(
                "Content-Length", response.headers["Content-Length"] if self.command == "HEAD" else str(length)
            )
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)
            self.close_connection = action == "cut"

    with _serving(Handler) as host:
        proxy.host = host
        yield proxy


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(
        self, status: int, document: Mapping[str, Any], headers: Mapping[str, str | Sequence[str]] | None = None
    ) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, values in ({"Content-Length": str(len(content))} | dict(headers or {})).items():
            for value in [values] if isinstance(values, str) else values:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serves in a thread; the host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
