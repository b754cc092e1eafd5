"""What everything else stands on: the namespace, the priority, the RuntimeClasses and the secrets."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from skylark.invocation_token import Credential
from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig, FunctionSection, Run
from skylark_oci.manifests.distribution import TRAITS
from skylark_oci.manifests.documents import Document, document

_PRIORITY = 1_000_000
"""Above functions, so that a node which is full keeps its proxy; below the classes of the system (from 2·10⁹)."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What no file of a project should hold."""

    peer_key: str
    redis_password: str
    users_acl: str | None = None
    """Redis' users, where they are not the one that is made from the password."""

    @classmethod
    def generate(cls) -> "Secrets":
        """New ones, of 32 random bytes each."""
        return cls(secrets.token_hex(32), secrets.token_hex(32))

    @property
    def key(self) -> bytes:
        """The nodes' key as they read it: in hexadecimal, or as text."""
        try:
            return bytes.fromhex(self.peer_key)
        except ValueError:
            return self.peer_key.encode()

    @property
    def users(self) -> str:
        """Redis' users, in the form of its ACL file."""
        return self.users_acl or f"user default on >{self.redis_password} ~* &* +@all\n"

    @property
    def fingerprint(self) -> str:
        """Return what changes with any of them. Without the key no password can be tried against it."""
        content = f"{self.redis_password}\n{self.users}".encode()
        return hmac.new(self.peer_key.encode(), content, hashlib.sha256).hexdigest()[:16]


def namespace(config: ClusterConfig) -> Document:
    """The namespace. Redis keeps its data in a folder of the node, which only `privileged` allows (hostPath)."""
    name = config.file.cluster.namespace
    made = document("Namespace", name)
    made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "privileged"
    return made


def priority_class() -> Document:
    """How much Skylark's own pods matter."""
    return document(
        "PriorityClass",
        names.PRIORITY_CLASS,
        api="scheduling.k8s.io/v1",
        value=_PRIORITY,
        globalDefault=False,
        description="Skylark's own pods on each node.",
    )


def runtime_classes(config: ClusterConfig) -> list[Document]:
    """The RuntimeClasses of the functions; the handlers are names in each node's containerd configuration."""
    cluster = config.file.cluster
    wanted = {function.run for function in config.file.functions} - {Run.PROXY}
    made = []
    for run in sorted(wanted):
        handler = {str(key): value for key, value in cluster.runtime_handlers.items()}.get(run, str(run))
        if not (TRAITS[cluster.distribution].brings_runtime_classes and handler == run):
            made.append(document("RuntimeClass", str(run), api="node.k8s.io/v1", handler=handler))
    return made


def secret_documents(config: ClusterConfig, values: Secrets) -> list[Document]:
    """The Secrets that no existing one stands for."""
    space = config.file.cluster.namespace
    made = []
    if config.file.proxy.peer_key_secret is None:
        data = {"key": values.peer_key}
        made.append(_secret(names.PEER_KEY_SECRET, space, names.PROXY, data))
        made += [_token(function, values, space) for function in config.file.functions if function.run is not Run.PROXY]
    if config.file.redis.secret is None:
        data = {"password": values.redis_password, "users.acl": values.users}
        made.append(_secret(names.REDIS_SECRET, space, names.REDIS, data))
    return made


def _token(function: FunctionSection, values: Secrets, space: str) -> Document:
    """A function's credential. It is made of the nodes' key, so whoever brings a key of their own makes it too."""
    credential = Credential.make(values.key, function.name, function.chains)
    return _secret(names.function_secret(function.name), space, function.name, {"token": str(credential)})


def _secret(name: str, space: str, component: str, data: dict[str, str]) -> Document:
    return document("Secret", name, namespace=space, component=component, type="Opaque", stringData=data)
