"""Take over the secrets that a cluster has already."""

import base64
import hashlib

from skylark_oci.cluster.api import Cluster
from skylark_oci.cluster.errors import NotAllowed, UnusableSecret
from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig
from skylark_oci.manifests.foundation import Secrets


def secrets_of(cluster: Cluster, config: ClusterConfig) -> Secrets:
    """Return the secrets that the cluster has, with new ones in place of those that it has not.

    Raises:
        UnusableSecret: A Secret is there and lacks what the pods need of it.
    """
    new, file = Secrets.generate(), config.file
    peer = _texts(cluster, config, file.proxy.peer_key_secret or names.PEER_KEY_SECRET, "key")
    redis = _texts(cluster, config, file.redis.secret or names.REDIS_SECRET, "password", "users.acl")
    if redis is not None:
        _check_users(file.redis.secret or names.REDIS_SECRET, redis["password"], redis["users.acl"])
    found = redis or {"password": new.redis_password}
    return Secrets((peer or {"key": new.peer_key})["key"], found["password"], found.get("users.acl"))


def _texts(cluster: Cluster, config: ClusterConfig, name: str, *keys: str) -> dict[str, str] | None:
    """Return the texts of a Secret; None if there is none, or we may not read it."""
    metadata = {"name": name, "namespace": config.file.cluster.namespace}
    try:
        live = cluster.get({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
    except NotAllowed:
        return None  # the pods may read it even so
    if live is None:
        return None
    data = live.get("data") or {}
    for key in keys:
        if not data.get(key):
            raise UnusableSecret(name, f"it has no `{key}`")
    return {key: base64.b64decode(data[key]).decode(errors="replace") for key in keys}


def _check_users(name: str, password: str, users: str) -> None:
    """Raise UnusableSecret unless Redis lets somebody in with the password (Redis, "ACL")."""
    accepted = {f">{password}", f"#{hashlib.sha256(password.encode()).hexdigest()}", "nopass"}
    if not accepted & set(users.split()):
        raise UnusableSecret(name, "its `users.acl` has no user with its `password`: change both together")
