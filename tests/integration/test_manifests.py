"""Manifests as a user has them: by the command, with the real kubectl and kustomize, and with a real Redis."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import yaml

from cluster_server import run_cluster_api
from clusters import FULL, SMALL, cluster_of, one, rendered
from object_schemas import check_object
from servers import free_port, wait_for
from skylark_oci.manifests.config import Distribution
from skylark_oci.manifests.render import for_distribution, identity
from skylark_proxy.redis_binary import find_redis_server

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(
    KUBECTL is None and not os.environ.get("CI"), reason="no kubectl; on Debian: apt-get install kubernetes-client"
)


def skylark(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SKYLARK_")}
    command = [sys.executable, "-m", "skylark_proxy", "manifests", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def kubectl(folder: Path, *arguments: str) -> str:
    """What kubectl prints."""
    assert KUBECTL is not None, "kubectl is needed; on Debian: apt-get install kubernetes-client"
    environment = os.environ | {"KUBECONFIG": str(folder / "kubeconfig"), "HOME": str(folder)}
    ran = subprocess.run(
        [KUBECTL, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the configuration that has everything, and its manifests."""
    cluster_of(FULL, tmp_path)
    (tmp_path / "skylark.yaml").write_text(FULL)
    made = skylark(tmp_path, "-o", "out")
    assert made.returncode == 0, made.stderr
    assert "out/06-proxy.yaml" in made.stdout.splitlines()
    return tmp_path


def test_the_example_becomes_manifests(tmp_path: Path) -> None:
    """What `--example` prints is a configuration that the command accepts, whose settings the proxy accepts."""
    (tmp_path / "skylark.yaml").write_text(skylark(tmp_path, "--example").stdout)
    made = skylark(tmp_path)
    assert made.returncode == 0, made.stderr
    documents = yaml.safe_load_all((tmp_path / "manifests" / "09-events.yaml").read_text())
    assert [document["kind"] for document in documents] == ["Broker", "Trigger", "Trigger", "Trigger", "PingSource"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("proxy: {settings: {max_latency_ms: fast}}", "proxy.settings.max_latency_ms"),
        ("proxy: {settings: {max_speed: 1}}", "proxy.settings.max_speed"),
        ("node_info: {settings: {node_info_density: 2}}", "node_info.settings.node_info_density"),
        ("redis: {memory: lots}", "redis.memory (line 3)"),
    ],
)
def test_settings_that_would_not_start(settings: str, named: str, tmp_path: Path) -> None:
    """What the proxy or node-info would refuse at its start is refused here, and nothing is written."""
    (tmp_path / "skylark.yaml").write_text(SMALL + settings)
    made = skylark(tmp_path)
    assert made.returncode == 1
    assert named in made.stderr and "Traceback" not in made.stderr
    assert not (tmp_path / "manifests").exists()


@needs_kubectl
@pytest.mark.parametrize("distribution", list(Distribution))
def test_kustomize_gives_what_was_rendered(distribution: Distribution, folder: Path) -> None:
    """The real kustomize makes of an overlay the very objects that the configuration gives for the distribution."""
    made = list(yaml.safe_load_all(kubectl(folder, "kustomize", str(folder / "out" / "overlays" / distribution))))
    config = for_distribution(cluster_of(FULL, folder), distribution)
    wanted = {identity(document): document for document in rendered(config)}
    assert {identity(document) for document in made} == {key for key in wanted if key[1] != "Secret"}
    for document in made:
        check_object(document)
        if document["kind"] != "DaemonSet":  # which has the fingerprint of the secrets
            assert document == wanted[identity(document)]


@needs_kubectl
def test_kubectl_applies_the_files(folder: Path) -> None:
    """The real kubectl applies the plain files in their order, applies them again, and deletes them."""
    with run_cluster_api(folder) as (api, _):
        apply = ("apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "out")
        kinds = [document["kind"] for document in rendered(cluster_of(FULL, folder))]
        secrets = kinds.count("Secret")
        assert secrets > 1
        assert kubectl(folder, *apply).count("serverside-applied") == len(kinds) - secrets
        assert kubectl(folder, "create", "--validate=false", "-f", "out/secrets").count("created") == secrets
        before = list(api.writes)
        kubectl(folder, *apply)
        assert api.writes == before
        assert "skylark-redis" in kubectl(folder, "get", "daemonsets", "--namespace", "space")
        kubectl(folder, "delete", "-f", "out/09-events.yaml")
        assert api.find("Broker", "sky") is None


@needs_kubectl
def test_secrets_are_never_replaced(folder: Path) -> None:
    """What another folder holds changes no Secret of the cluster, by files, overlay or `create`, which says why."""
    with run_cluster_api(folder) as (api, _):
        apply = ("apply", "--server-side", "--force-conflicts", "--validate=false")
        kubectl(folder, *apply, "-f", "out")
        kubectl(folder, "create", "--validate=false", "-f", "out/secrets")
        before = [api.find("Secret", name) for name in ("skylark-redis", "skylark-peer-key")]
        assert None not in before
        assert skylark(folder, "-o", "elsewhere").returncode == 0
        kubectl(folder, *apply, "-f", "elsewhere")
        kubectl(folder, *apply, "-k", "elsewhere/overlays/microk8s")
        with pytest.raises(AssertionError, match='secrets "skylark-redis" already exists'):
            kubectl(folder, "create", "--validate=false", "-f", "elsewhere/secrets")
        assert [api.find("Secret", name) for name in ("skylark-redis", "skylark-peer-key")] == before


def test_redis_starts_with_its_settings(tmp_path: Path) -> None:
    """A real Redis takes the settings and the users of the manifests: it asks for the password and syncs each write."""
    documents = rendered(cluster_of(SMALL, tmp_path))
    secret: dict[str, str] = one(documents, "Secret", "skylark-redis")["stringData"]
    (tmp_path / "users.acl").write_text(secret["users.acl"])
    port = free_port()
    settings = one(documents, "ConfigMap", "skylark-redis")["data"]["redis.conf"]
    for there, here in (("/data", tmp_path), ("/etc/skylark/users", tmp_path), ("* -::*", "127.0.0.1"), ("6379", port)):
        assert there in settings
        settings = settings.replace(there, str(here))
    (tmp_path / "redis.conf").write_text(settings)
    server = subprocess.Popen([find_redis_server(), tmp_path / "redis.conf"], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, password=secret["password"], decode_responses=True) as client:
            wait_for(client.ping, "Redis answers")
            found = client.config_get("append*")
            assert (found["appendonly"], found["appendfsync"]) == ("yes", "always")
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    finally:
        server.kill()
        server.wait(20)
