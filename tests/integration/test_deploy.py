"""`skylark deploy` and `undeploy` with the official client, against a small API server of the tests' own, over HTTPS.

The server is not Kubernetes: what is shown is what the commands send, and what they make of the answers.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster_api import ClusterApi
from cluster_server import run_cluster_api
from kubernetes_api import TOKEN
from registries import run_registry
from servers import wait_for
from skylark_oci import Metadata, Reference
from skylark_oci.packages import package
from skylark_oci.push import push
from skylark_oci.record import BuildRecord, with_record
from skylark_oci.settings import RegistrySettings
from skylark_oci.wasm import custom_section
from wasm_files import MODULE, wasm_file

CONFIG = """
cluster: {image: "registry.example/skylark:1", distribution: kind}
functions:
  - {name: preprocess, run: proxy, image: "registry.example/preprocess:1", tier: Sat, on_event: picture}
  - {name: detect, run: wasmtime, image: "registry.example/detect:1", tier: Sat, after: preprocess}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration."""
    (tmp_path / "skylark.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def api(folder: Path) -> Iterator[ClusterApi]:
    """A cluster with Knative, one Cloud node and three Sat nodes."""
    with run_cluster_api(folder) as (server, _):
        yield server


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Starts a command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SKYLARK_", "KUBE"))}
    return subprocess.Popen(
        [sys.executable, "-m", "skylark_proxy", *arguments],
        env=environment | {"KUBECONFIG": str(folder / "kubeconfig")},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end."""
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def changes(ran: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """What became of each object, by kind and name."""
    assert ran.returncode == 0, ran.stderr
    found: list[dict[str, Any]] = json.loads(ran.stdout)["changes"]
    return {f"{one['kind']}/{one['name']}": one["action"] for one in found}


def failure(ran: "subprocess.CompletedProcess[str]") -> str:
    """The one sentence of a command that failed."""
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr.partition("error: ")[2]


class TestDeploy:
    def test_everything_is_created_and_ready(self, api: ClusterApi, folder: Path) -> None:
        """All objects are applied in an order that the server accepts, by the manager skylark, and are ready in the
        end."""
        made = changes(run(folder, "deploy", "--json"))
        assert set(made.values()) == {"created", "changed"}
        assert [name for name, action in made.items() if action == "changed"] == ["ConfigMap/config-features"]
        for kind, name in (("DaemonSet", "skylark-redis"), ("DaemonSet", "skylark-proxy-sat"), ("Trigger", "detect")):
            assert api.find(kind, name) is not None, name
        sat = api.find("DaemonSet", "skylark-proxy-sat")
        assert sat is not None and sat["status"]["numberReady"] == 3
        features = api.find("ConfigMap", "config-features")
        assert features is not None
        assert features["data"]["kubernetes.podspec-runtimeclassname"] == "enabled"
        assert "_example" in features["data"]

    def test_again_changes_nothing(self, api: ClusterApi, folder: Path) -> None:
        """A second deploy writes nothing, and leaves the keys as they are."""
        run(folder, "deploy")
        before, secret = len(api.writes), api.find("Secret", "skylark-peer-key")
        made = changes(run(folder, "deploy", "--json"))
        assert set(made.values()) == {"unchanged", "kept"}
        assert (len(api.writes), api.find("Secret", "skylark-peer-key")) == (before, secret)

    def test_a_dry_run_says_what_would_change(self, api: ClusterApi, folder: Path) -> None:
        """Nothing is written, before the first deploy and after it; changed fields are named."""
        first = run(folder, "deploy", "--dry-run")
        assert "daemonset/skylark-redis would be created" in first.stdout
        assert (first.returncode, api.writes, api.find("Namespace", "skylark")) == (
            0,
            api.writes[:0] + api.writes,
            None,
        )
        run(folder, "deploy")
        before = list(api.writes)
        (folder / "skylark.yaml").write_text(CONFIG.replace("skylark:1", "skylark:2"))
        second = run(folder, "deploy", "--dry-run").stdout
        line = "daemonset/skylark-node-info would be changed (spec.template.spec.containers[0].image)"
        assert line in second.splitlines()
        assert "daemonset/skylark-redis unchanged" in second.splitlines()
        assert api.writes == before

    def test_native_code_that_may_be_interpreted(self, api: ClusterApi, folder: Path) -> None:
        """With --check-images it warns of native code that crun would interpret, and deploys; other images are fine."""
        header = {"new": (2, 1, 1), "old": (1, 1, 1), "none": ()}
        with run_registry() as registry:
            for name, native in header.items():
                section = custom_section("wasmedge", bytes(native) + b"code") if native else b""
                record = BuildRecord("skylark:state/command@0.1.0", {}, [], [], "wasmedge")
                module = with_record(wasm_file(MODULE) + section, record, name)
                place = Reference.parse(f"{registry.host}/aot/{name}:1")
                push(package(module, name, Metadata()).layout(), name, place, RegistrySettings())
            lines = [
                f'  - {{name: {name}, run: wasmedge, image: "{registry.host}/aot/{name}:1", tier: Sat}}'
                for name in header
            ]
            config = CONFIG.partition("functions:")[0] + "\n".join(["functions:", *lines])
            (folder / "skylark.yaml").write_text(config)
            for command in (("deploy", "--dry-run"), ("manifests",)):
                ran = run(folder, *command, "--check-images")
                assert ran.returncode == 0, ran.stderr
                (warning,) = [line for line in ran.stderr.splitlines() if line.startswith("warning: ")]
                assert f"functions[0].image: the native code of {registry.host}/aot/new:1" in warning
                assert "crun with 0.17 interprets" in warning
                assert "warning" not in run(folder, *command).stderr
            (folder / "skylark.yaml").write_text(config.replace("kind}", "kind, runtime_handlers: {wasmedge: crun}}"))
            assert run(folder, "deploy", "--dry-run", "--check-images").stderr.count("warning: ") == 2

    def test_what_the_configuration_no_longer_has_is_deleted(self, api: ClusterApi, folder: Path) -> None:
        """A function that is gone from the file is gone from the cluster; what others own stays."""
        run(folder, "deploy")
        owner = {"apiVersion": "serving.knative.dev/v1", "kind": "Route", "name": "x", "uid": "1"}
        labels = {"app.kubernetes.io/managed-by": "skylark", "app.kubernetes.io/part-of": "skylark"}
        metadata = {"name": "of-knative", "namespace": "skylark", "labels": labels, "ownerReferences": [owner]}
        api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}})
        (folder / "skylark.yaml").write_text("\n".join(CONFIG.splitlines()[:-1]))
        made = changes(run(folder, "deploy", "--json"))
        assert [name for name, action in made.items() if action == "deleted"] == ["Service/detect", "Trigger/detect"]
        wait_for(lambda: api.find("Trigger", "detect") is None, "the trigger is gone")
        assert api.find("ConfigMap", "of-knative") is not None

    def test_a_namespace_and_a_class_of_others_stay(self, api: ClusterApi, folder: Path) -> None:
        """What was there before for everybody is used as it is, and survives an undeploy."""
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "skylark"}})
        theirs = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "wasmtime"}}
        api.put(theirs | {"handler": "their-own"})
        made = changes(run(folder, "deploy", "--json"))
        assert (made["Namespace/skylark"], made["RuntimeClass/wasmtime"]) == ("kept", "kept")
        assert changes(run(folder, "undeploy", "--json"))["Namespace/skylark"] == "kept"
        assert api.find("RuntimeClass", "wasmtime") is not None
        assert api.find("Namespace", "skylark") is not None
        assert api.find("DaemonSet", "skylark-redis") is None

    def test_it_waits(self, api: ClusterApi, folder: Path) -> None:
        """It ends once the last object is ready, and not before."""
        api.holding = True
        process = start(folder, "deploy")
        wait_for(lambda: api.find("Trigger", "detect") is not None, "everything is applied")
        assert process.poll() is None
        api.release()
        assert process.wait(60) == 0
        process.communicate()


def hashes(api: ClusterApi) -> dict[str, str]:
    """What starts the pods of each DaemonSet anew when it changes."""
    found = {name: api.find("DaemonSet", name) for name in ("skylark-redis", "skylark-proxy-sat", "skylark-node-info")}
    return {
        name: document["spec"]["template"]["metadata"]["annotations"]["skylark.io/config-hash"]
        for name, document in found.items()
        if document is not None
    }


def put_secret(api: ClusterApi, name: str, **texts: str) -> None:
    """Makes a Secret, or changes it, as somebody else."""
    metadata = {"name": name, "namespace": "skylark"}
    data = {key.replace("_", "."): text for key, text in texts.items()}
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})


class TestSecrets:
    def test_a_changed_password_reaches_both_sides(self, api: ClusterApi, folder: Path) -> None:
        """A password that was changed in the cluster stays, and Redis and the proxies start anew; node-info does
        not."""
        run(folder, "deploy")
        before = hashes(api)
        put_secret(api, "skylark-redis", password="another", users_acl="user default on >another ~* &* +@all")
        secret = api.find("Secret", "skylark-redis")
        made = changes(run(folder, "deploy", "--json"))
        assert {name for name, action in made.items() if action == "changed"} == {
            "DaemonSet/skylark-redis",
            *(f"DaemonSet/skylark-proxy-{tier}" for tier in ("cloud", "edge", "sat")),
        }
        after = hashes(api)
        assert {name for name in before if before[name] != after[name]} == {"skylark-redis", "skylark-proxy-sat"}
        assert api.find("Secret", "skylark-redis") == secret

    def test_a_secret_of_ones_own(self, api: ClusterApi, folder: Path) -> None:
        """A Secret that the configuration names is read too, so that its changes reach both sides."""
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "skylark"}})
        (folder / "skylark.yaml").write_text(CONFIG + "redis: {secret: mine}\n")
        put_secret(api, "mine", password="one", users_acl="user default on >one ~* &* +@all")
        run(folder, "deploy")
        before = hashes(api)
        assert api.find("Secret", "skylark-redis") is None
        put_secret(api, "mine", password="two", users_acl="user default on >two ~* &* +@all")
        run(folder, "deploy")
        assert hashes(api)["skylark-redis"] != before["skylark-redis"]

    @pytest.mark.parametrize(
        ("texts", "reason"),
        [
            ({"password": "x"}, "no `users.acl`"),
            ({"password": "x", "users_acl": "user default on >y"}, "both together"),
        ],
    )
    def test_a_secret_that_locks_the_proxies_out(
        self, texts: dict[str, str], reason: str, api: ClusterApi, folder: Path
    ) -> None:
        """A Secret with which no proxy could log in is refused, and nothing is applied."""
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "skylark"}})
        put_secret(api, "skylark-redis", **texts)
        before = list(api.writes)
        said = failure(run(folder, "deploy"))
        assert "secret skylark-redis" in said and reason in said
        assert api.writes == before
        assert run(folder, "undeploy").returncode == 0


def _status(name: str, state: dict[str, Any]) -> dict[str, Any]:
    about = {"name": name, "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    return about | {"state": state}


class TestShared:
    def test_registries_of_others_stay(self, api: ClusterApi, folder: Path) -> None:
        """What others have told Knative stays when ours is added, and when ours goes."""
        (folder / "skylark.yaml").write_text(CONFIG.replace("registry.example/detect", "localhost:5000/detect"))
        metadata = {"name": "config-deployment", "namespace": "knative-serving"}
        key = "registries-skipping-tag-resolving"
        api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: "mine.example"}})

        def skipped() -> str:
            found = api.find("ConfigMap", "config-deployment")
            assert found is not None
            return str(found["data"][key])

        run(folder, "deploy")
        assert skipped() == "mine.example,localhost:5000"
        assert changes(run(folder, "deploy", "--json"))["ConfigMap/config-deployment"] == "unchanged"
        assert changes(run(folder, "undeploy", "--json"))["ConfigMap/config-deployment"] == "changed"
        assert skipped() == "mine.example"

    def test_registries_that_are_no_longer_needed(self, api: ClusterApi, folder: Path) -> None:
        """A configuration without functions of that registry takes it away again."""
        (folder / "skylark.yaml").write_text(CONFIG.replace("registry.example/detect", "localhost:5000/detect"))
        run(folder, "deploy")
        (folder / "skylark.yaml").write_text(CONFIG)
        assert changes(run(folder, "deploy", "--json"))["ConfigMap/config-deployment"] == "changed"
        found = api.find("ConfigMap", "config-deployment")
        assert found is not None and found["data"] == {"_example": "# none"}


class TestFailures:
    def test_no_cluster(self, folder: Path) -> None:
        """Without a kubeconfig, and with a context that it does not have, the error says how to name one."""
        assert "no cluster" in failure(run(folder, "deploy"))
        with run_cluster_api(folder):
            said = failure(run(folder, "deploy", "--context", "nowhere"))
        assert "nowhere" in said and "--context" in said

    def test_without_the_client(self, folder: Path) -> None:
        """Without the official client the error says which extra has it."""
        (folder / "kubernetes.py").write_text("raise ImportError")
        assert "pip install 'skylark[kubernetes]'" in failure(run(folder, "deploy"))

    def test_a_stranger(self, api: ClusterApi, folder: Path) -> None:
        """Whom the cluster does not know is told so, and nothing is applied."""
        before = list(api.writes)
        (folder / "kubeconfig").write_text((folder / "kubeconfig").read_text().replace(TOKEN, "another"))
        said = failure(run(folder, "deploy"))
        assert said.startswith("the cluster does not allow") and "Unauthorized" in said
        assert api.writes == before

    def test_a_cluster_that_is_away(self, api: ClusterApi, folder: Path) -> None:
        """An API that answers nothing is one sentence with its address."""
        api.away_after = 0
        said = failure(run(folder, "deploy"))
        assert "https://127.0.0.1:" in said and "cannot be reached" in said

    def test_the_api_goes_away_in_the_middle(self, api: ClusterApi, folder: Path) -> None:
        """The error says how far it came; running it again completes the rest."""
        api.away_after = len(api.writes) + 5
        said = failure(run(folder, "deploy"))
        assert "5 of 29 objects were applied before; run it again" in said, said
        api.away_after = None
        made = changes(run(folder, "deploy", "--json"))
        assert [made[name] for name in list(made)[:5]] == ["unchanged"] * 3 + ["kept"] * 2
        assert set(list(made.values())[5:]) == {"created", "changed"}

    def test_forbidden(self, api: ClusterApi, folder: Path) -> None:
        """A refusal names what was refused, and the API's own reason."""
        api.forbidden.add("clusterroles")
        said = failure(run(folder, "deploy"))
        assert "applying clusterrole/skylark-node-info" in said
        assert 'User "test" cannot patch resource "clusterroles"' in said

    def test_without_knative(self, api: ClusterApi, folder: Path) -> None:
        """Nothing is applied, and the error says what to install; a cluster without such functions needs no Knative."""
        api.knative = False
        before = list(api.writes)
        said = failure(run(folder, "deploy"))
        assert "Service (serving.knative.dev/v1), Broker (eventing.knative.dev/v1)" in said
        assert "install Knative Serving and Eventing" in said
        assert api.writes == before
        (folder / "skylark.yaml").write_text("\n".join(CONFIG.splitlines()[:2]))
        assert run(folder, "deploy").returncode == 0

    def test_what_is_never_ready(self, api: ClusterApi, folder: Path) -> None:
        """After the time it names what is not ready."""
        api.holding = True
        said = failure(run(folder, "deploy", "--timeout-s", "1"))
        assert "daemonset/skylark-redis: not looked at yet" in said and "service/detect" in said

    def test_why_it_is_not_ready(self, api: ClusterApi, folder: Path) -> None:
        """The cluster's reason is told while it waits, once, and in the end."""
        api.holding = True
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "skylark"}})
        labels = {"serving.knative.dev/service": "detect"}
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        api.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "detect-1", "namespace": "skylark", "labels": labels},
                "spec": {"containers": [{"name": "user-container", "image": "x"}]},
                "status": {"containerStatuses": [_status("user-container", waiting)]},
            }
        )
        said = run(folder, "deploy", "--timeout-s", "3").stderr
        line = "service/detect: not looked at yet: user-container: ImagePullBackOff: no such image"
        assert said.splitlines().count(line) == 1
        assert f"  {line}" in said.partition("error: ")[2].splitlines()

    def test_without_labelled_nodes(self, api: ClusterApi, folder: Path) -> None:
        """A cluster whose nodes have no tier runs nothing, which is an error that says what to do."""
        api.nodes = [{}]
        assert "kubectl label node NAME node-type=Cloud" in failure(run(folder, "deploy"))
        api.relabel([{"node-type": "Cloud"}])
        wait_for(lambda: bool((api.find("DaemonSet", "skylark-proxy-cloud") or {})["status"]["numberReady"]), "a node")
        assert "no node of the cluster is for skylark-proxy-sat;" in failure(run(folder, "deploy"))

    def test_a_port_that_is_taken(self, api: ClusterApi, folder: Path) -> None:
        """The API's reason is told with the object that it is about."""
        ports = [{"port": 80, "nodePort": 30002}]
        metadata = {"name": "other", "namespace": "default"}
        api.put({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}})
        said = failure(run(folder, "deploy"))
        assert "applying service/skylark-proxy: nodePort 30002: provided port is already allocated" in said


class TestUndeploy:
    def test_everything_is_gone(self, api: ClusterApi, folder: Path) -> None:
        """What deploy has made is deleted, the namespace last; Knative keeps its flags."""
        run(folder, "deploy")
        made = changes(run(folder, "undeploy", "--json"))
        assert made.pop("ConfigMap/config-features") == "kept"
        assert set(made.values()) == {"deleted"}
        assert list(made)[-1] == "Namespace/skylark"
        for kind, name in (("DaemonSet", "skylark-redis"), ("Namespace", "skylark"), ("RuntimeClass", "wasmtime")):
            assert api.find(kind, name) is None
        assert ("apply", "daemonsets", "skylark-purge") not in api.writes

    def test_again_changes_nothing(self, api: ClusterApi, folder: Path) -> None:
        """Where nothing is left there is nothing to do."""
        assert changes(run(folder, "undeploy", "--json")) == {"ConfigMap/config-features": "kept"}

    def test_it_waits(self, api: ClusterApi, folder: Path) -> None:
        """What does not go in time is named."""
        run(folder, "deploy")
        api.holding = True
        said = failure(run(folder, "undeploy", "--timeout-s", "1"))
        assert "daemonset/skylark-redis is still there" in said
        assert api.find("Namespace", "skylark") is not None

    def test_purge(self, api: ClusterApi, folder: Path) -> None:
        """The folders of the nodes are emptied once Redis has gone, by pods that are gone in the end."""
        run(folder, "deploy")
        changes(run(folder, "undeploy", "--purge", "--json"))
        order = [write for write in api.writes if write[2] in ("skylark-redis", "skylark-purge", "skylark")]
        first = order.index(("apply", "daemonsets", "skylark-purge"))
        assert ("delete", "daemonsets", "skylark-redis") in order[:first]
        assert order[first + 1 :] == [("delete", "daemonsets", "skylark-purge"), ("delete", "namespaces", "skylark")]
        assert api.find("DaemonSet", "skylark-purge") is None
