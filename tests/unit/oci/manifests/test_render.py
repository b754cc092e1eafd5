"""What is rendered: objects that the API accepts, that fit together, and that do what the configuration says."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from jsonschema import ValidationError  # type: ignore[import-untyped]

from clusters import FULL, SECRETS, SMALL, cluster_of, containers, found, one, pods, rendered
from object_schemas import KNATIVE_CRD, check_object
from skylark.cloudevents import REPLY_TYPE
from skylark.invocation_token import Credential
from skylark_oci.manifests import render
from skylark_oci.manifests.config import Distribution
from skylark_oci.manifests.distribution import TRAITS
from skylark_oci.manifests.errors import InvalidConfig
from skylark_oci.manifests.foundation import Secrets
from skylark_oci.manifests.quantities import size_bytes
from skylark_oci.manifests.redis import purge_document
from skylark_oci.manifests.render import for_distribution
from skylark_proxy.api.callers import known_host
from skylark_proxy.config import Config
from skylark_proxy.invocation_tokens import InvocationToken, verify_token
from skylark_proxy.nodeinfo.settings import NodeInfoSettings
from skylark_proxy.signatures import MIN_KEY_BYTES

Json = dict[str, Any]
RUNS = ("proxy", "wasmtime")
VERSIONS = kubernetes_validate.utils.all_versions()


@pytest.fixture
def documents(tmp_path: Path) -> list[Json]:
    """All objects of the configuration with everything in it."""
    return rendered(cluster_of(FULL, tmp_path))


@pytest.mark.parametrize("text", [SMALL, FULL])
@pytest.mark.parametrize(
    "version", sorted({one.removesuffix("-local").removesuffix("-strict") for one in VERSIONS})[1:]
)
def test_kubernetes_accepts_the_objects(text: str, version: str, tmp_path: Path) -> None:
    """Every object of Kubernetes' own is valid for this version, without any field that it does not know."""
    config = cluster_of(text, tmp_path)
    ours = [one for one in [*rendered(config), purge_document(config)] if "knative.dev/" not in one["apiVersion"]]
    assert len(ours) > 20
    for document in ours:
        check_object(document, version)


@pytest.mark.skipif(not KNATIVE_CRD.exists(), reason=f"Knative's CRD is not at {KNATIVE_CRD.parent}")
def test_knative_serving_accepts_the_functions(documents: list[Json]) -> None:
    """The functions' Services are valid by the CRD, without any field that it does not know."""
    services = [one for one in documents if one["apiVersion"] == "serving.knative.dev/v1"]
    assert [one["metadata"]["name"] for one in services] == ["detect", "alarm"]
    for service in services:
        check_object(service)
        service["spec"]["template"]["spec"]["unknown"] = 1
        with pytest.raises(ValidationError):
            check_object(service)


def test_knative_eventing_accepts_the_events(documents: list[Json]) -> None:
    """Broker, triggers and source have the fields of their CRDs and no others."""
    events = [one for one in documents if one["apiVersion"].startswith(("eventing.", "sources."))]
    assert len(events) == 7
    for document in events:
        check_object(document)


class TestSettings:
    def variables(self, documents: list[Json], container: Json, volumes: Json) -> dict[str, str]:
        """The variables of a container as its process sees them."""
        secret = one(documents, "Secret", "skylark-redis")["stringData"]
        values = {"spec.nodeName": "sat1"}
        made: dict[str, str] = {}
        for source in container.get("envFrom", []):
            made |= one(documents, "ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container["env"]:
            source = variable.get("valueFrom", {})
            text = variable.get("value") or values.get(source.get("fieldRef", {}).get("fieldPath"), "")
            text = secret[source["secretKeyRef"]["key"]] if "secretKeyRef" in source else text
            for name, value in made.items():
                text = text.replace(f"$({name})", value)
            made[variable["name"]] = text
        assert not [value for value in made.values() if "$(" in value]
        return made

    def container(self, documents: list[Json], command: str, pool: str = "") -> tuple[Json, Json]:
        """The container of a command, with its pod's volumes."""
        for document, template in pods(documents):
            for container in template["spec"]["containers"]:
                if container.get("args") == [command] and document["metadata"]["name"].endswith(pool):
                    return container, template["spec"]["volumes"]
        raise AssertionError(command)

    def test_the_proxy_takes_its_settings(self, documents: list[Json], tmp_path: Path) -> None:
        """The proxy reads all variables of its container, and knows each."""
        made = self.variables(documents, *self.container(documents, "serve", "-sat"))
        (tmp_path / "key").write_text(one(documents, "Secret", "skylark-peer-key")["stringData"]["key"])
        config = Config.load(made | {"SKYLARK_PEER_KEY": f"@{tmp_path / 'key'}"})
        assert (config.node, config.host, config.port) == ("sat1", "0.0.0.0", 30002)
        assert (config.max_latency_ms, config.replicate, config.ack) == (80.5, True, "local")
        assert config.redis_url == f"redis://:{SECRETS.redis_password}@skylark-redis.space.svc:6379"
        assert config.local_networks == ()  # no address of a pod opens anything
        assert known_host("skylark-proxy-sat.space.svc:30002", config.allowed_hosts)
        assert len(config.peer_key or b"") >= MIN_KEY_BYTES

    def test_node_info_takes_its_settings(self, documents: list[Json]) -> None:
        """The node-info service reads all variables of its container, and knows each."""
        container, volumes = self.container(documents, "node-info")
        made = self.variables(documents, container, volumes)
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert made["SKYLARK_PEER_KEY"] == "@/etc/skylark/peer/key" and mounted["/etc/skylark/peer"] == "peer-key"
        settings = NodeInfoSettings.load(made | {"SKYLARK_PEER_KEY": SECRETS.peer_key})
        assert known_host("skylark-node-info.space.svc:30001", settings.allowed_hosts)
        assert (settings.node, settings.host, settings.port) == ("sat1", "0.0.0.0", 30001)
        assert (settings.node_info_provider, settings.node_info_interval_s) == ("kubernetes", 30)
        assert settings.topology is not None
        mount = next(one for one in container["volumeMounts"] if one["name"] == "topology")
        assert str(settings.topology.parent) == mount["mountPath"]
        assert settings.topology.name in one(documents, "ConfigMap", "skylark-topology")["data"]

    def test_pods_get_no_variables_of_services(self, documents: list[Json]) -> None:
        """Kubernetes' variables for Services would stand between the settings of a proxy, and are of no use to it."""
        for document, template in pods(documents):
            assert template["spec"]["enableServiceLinks"] is (document["kind"] == "Service")

    def test_pods_start_anew_for_new_settings(self, tmp_path: Path) -> None:
        """Where a setting has changed, so has the pods' template; where none has, it has not."""
        before, same, after = (
            one(rendered(cluster_of(text, tmp_path)), "DaemonSet", "skylark-proxy-sat")["spec"]["template"]
            for text in (FULL, FULL, FULL.replace("80.5", "80"))
        )
        assert before == same != after


class TestReferences:
    def test_config_maps_and_secrets(self, documents: list[Json]) -> None:
        """Whatever a pod takes from a ConfigMap or a Secret is there."""
        defined = {
            (document["kind"], document["metadata"]["name"]): {
                *document.get("data", {}),
                *document.get("stringData", {}),
            }
            for document in documents
        }
        used = 0
        for _, template in pods(documents):
            for name in found(template, "configMapRef"):
                assert ("ConfigMap", name["name"]) in defined
            for volume in template["spec"].get("volumes", []):
                if "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in defined
                if "secret" in volume:
                    assert ("Secret", volume["secret"]["secretName"]) in defined
            for reference in found(template, "secretKeyRef"):
                used += 1
                assert reference["key"] in defined["Secret", reference["name"]]
        assert used >= 5

    def test_accounts_and_classes(self, documents: list[Json]) -> None:
        """Accounts, priorities and runtime classes that pods name are there, and the role is bound to the account."""
        names = {(document["kind"], document["metadata"]["name"]) for document in documents}
        for key, kind in (
            ("serviceAccountName", "ServiceAccount"),
            ("priorityClassName", "PriorityClass"),
            ("runtimeClassName", "RuntimeClass"),
        ):
            used = set(found(documents, key))
            assert used, key
            assert {(kind, name) for name in used} <= names
        binding = next(document for document in documents if document["kind"] == "ClusterRoleBinding")
        role = one(documents, "ClusterRole", binding["roleRef"]["name"])
        assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]
        account = one(documents, "ServiceAccount", binding["subjects"][0]["name"])
        assert account["metadata"]["namespace"] == binding["subjects"][0]["namespace"]

    def test_services_lead_to_pods(self, documents: list[Json]) -> None:
        """Each Service chooses pods by labels that pods have, and a port that these listen on."""
        services = [one for one in documents if (one["apiVersion"], one["kind"]) == ("v1", "Service")]
        assert len(services) == 6
        for service in services:
            chosen = list(self.chosen(documents, service["spec"]["selector"]))
            assert chosen, service["metadata"]["name"]
            for template in chosen:
                ports = {
                    port["containerPort"] for one in template["spec"]["containers"] for port in one.get("ports", [])
                }
                assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports

    def test_policies_lead_to_pods(self, documents: list[Json]) -> None:
        """Each network policy is about pods that are there, lets in pods that are there, and to their ports."""
        policies = [one for one in documents if one["kind"] == "NetworkPolicy"]
        assert len(policies) == 3
        for policy in policies:
            for selector in [policy["spec"]["podSelector"], *found(policy["spec"]["ingress"], "podSelector")]:
                assert list(self.chosen(documents, selector.get("matchLabels", {})))
            template = next(self.chosen(documents, policy["spec"]["podSelector"]["matchLabels"]))
            ports = {port["containerPort"] for one in template["spec"]["containers"] for port in one["ports"]}
            assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= ports

    def test_addresses_lead_to_services(self, documents: list[Json]) -> None:
        """Each address in a setting or a trigger is a Service of this namespace with that port."""
        known = {
            f"{one['metadata']['name']}.space.svc:{port['port']}"
            for one in documents
            if (one["apiVersion"], one["kind"]) == ("v1", "Service")
            for port in one["spec"]["ports"]
        }
        texts = [text for text in self.texts(documents) if ".svc" in text and not text.startswith(".")]
        assert len(texts) >= 8
        for text in texts:
            assert text.rpartition("//")[2].rpartition("@")[2].partition("/")[0] in known, text

    def test_inside_of_pods(self, documents: list[Json]) -> None:
        """Mounts have their volumes, volumes are mounted, probes have their ports, sets choose their own pods."""
        for document, template in pods(documents):
            if document["kind"] == "DaemonSet":
                assert document["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            volumes = {volume["name"] for volume in template["spec"].get("volumes", [])}
            assert {mount["name"] for mounts in found(template, "volumeMounts") for mount in mounts} == volumes
        for _, container in containers(documents):
            names = {port.get("name") for port in container.get("ports", [])}
            assert {get["port"] for get in found(container, "httpGet") if "port" in get} <= names

    def test_events_lead_to_functions(self, documents: list[Json]) -> None:
        """Triggers and the source name the broker, and Services of functions that are there."""
        one(documents, "Broker", "sky")
        assert set(found(documents, "broker")) == {"sky"}
        references = list(found(documents, "ref"))
        assert len(references) == 3
        for reference in references:
            one(documents, reference["kind"], reference["name"], reference["apiVersion"])
            assert reference["namespace"] == "space"

    @staticmethod
    def chosen(documents: list[Json], labels: Json) -> Any:
        """The templates of pods with these labels."""
        return (
            template
            for _, template in pods(documents)
            if labels.items() <= template["metadata"].get("labels", {}).items()
        )

    @classmethod
    def texts(cls, value: Any) -> list[str]:
        """All texts, however deep."""
        if isinstance(value, dict):
            return [text for inner in value.values() for text in cls.texts(inner)]
        if isinstance(value, list):
            return [text for inner in value for text in cls.texts(inner)]
        return [value] if isinstance(value, str) else []


class TestPods:
    def test_they_can_do_nothing_to_their_node(self, documents: list[Json]) -> None:
        """No container of ours is privileged, writes to its image or is root; the one that must be does one thing."""
        for pod, container in containers(documents):
            security = container["securityContext"]
            of_pod: Json = pod.get("securityContext") or security  # Knative has it in the container
            assert security["readOnlyRootFilesystem"] and security["allowPrivilegeEscalation"] is False
            assert security["capabilities"]["drop"] == ["ALL"]
            assert of_pod["runAsNonRoot"] and of_pod["runAsUser"] > 0
            assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
            assert container.get("name") == "owner" or (
                security.get("runAsUser", 1) and "add" not in security["capabilities"]
            )
            assert "memory" in container["resources"]["limits"]

    def test_only_node_info_may_ask_the_api(self, documents: list[Json]) -> None:
        """No other pod of ours has a token."""
        for document, template in pods(documents):
            if document["kind"] == "DaemonSet":
                tokens = template["spec"].get("automountServiceAccountToken", True)
                assert tokens is (document["metadata"]["name"] == "skylark-node-info")

    def test_ports_are_pinned(self, documents: list[Json]) -> None:
        """The published ports are NodePorts, which lead to the node that was asked."""
        services = [one for one in documents if one.get("spec", {}).get("type") == "NodePort"]
        ports = {one["metadata"]["name"]: one["spec"]["ports"][0]["nodePort"] for one in services}
        assert ports == {"skylark-node-info": 30001, "skylark-proxy": 30002, "skylark-redis": 30003}
        for service in services:
            assert service["spec"]["externalTrafficPolicy"] == service["spec"]["internalTrafficPolicy"] == "Local"

    def test_redis_loses_nothing(self, documents: list[Json]) -> None:
        """Redis writes to the node's disk before each answer, evicts nothing, and has room below its limit."""
        settings = dict(
            line.split(" ", 1)
            for line in one(documents, "ConfigMap", "skylark-redis")["data"]["redis.conf"].splitlines()
        )
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")
        assert settings["maxmemory-policy"] == "noeviction"
        assert int(settings["maxmemory"]) == 200 << 20
        pod = one(documents, "DaemonSet", "skylark-redis")["spec"]["template"]["spec"]
        assert pod["volumes"][0]["hostPath"] == {"path": "/srv/redis", "type": "DirectoryOrCreate"}

    def test_each_node_has_one_proxy(self, documents: list[Json]) -> None:
        """The pools part the nodes: a node by name is in its own pool, and in none of a tier."""
        sets = [
            one
            for one in documents
            if one["metadata"]["name"].startswith("skylark-proxy-") and "template" in one["spec"]
        ]
        nodes = [
            {"node-type": tier, "kubernetes.io/hostname": name}
            for tier, name in (("Cloud", "c"), ("Edge", "e"), ("Sat", "sat.one"), ("Sat", "sat2"), (None, "plain"))
        ]
        homes = [
            [one["metadata"]["name"].removeprefix("skylark-proxy-") for one in sets if self.fits(one, node)]
            for node in nodes
        ]
        assert homes == [["cloud"], ["edge"], ["node-sat-one"], ["sat"], []]

    def test_nodes_with_long_names(self, tmp_path: Path) -> None:
        """Each node has a pool of its own whose name is one of a Service, however long or alike the nodes' names are.

        A name that is too long for a label chooses the node by its field, with one value as the API wants it."""
        nodes = [
            "ip-10-0-0-1.eu-central-1.compute.internal",
            *(f"{'n' * 62}.{letter}" for letter in "ab"),
            "a.b",
            "a-b",
        ]
        nodes += ["n" * 252 + letter for letter in "ab"]
        each = "  - {{name: f{0}, run: {1}, image: x, node: {2}, on_event: x}}"
        lines = [each.format(f"{run}{index}", run, node) for index, node in enumerate(nodes) for run in RUNS]
        documents = rendered(cluster_of("\n".join([SMALL, "functions:", *lines]), tmp_path))
        for document in documents:
            if (document["apiVersion"], document["kind"]) == ("v1", "Service"):
                assert re.fullmatch("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", document["metadata"]["name"])
            check_object(document)
        assert all(len(str(value)) <= 63 for labels in found(documents, "labels") for value in labels.values())
        selectors = [value for one in found(documents, "nodeSelector") for value in one.values()]
        assert all(len(value) <= 63 for value in selectors)
        sets = [one for one in documents if one["kind"] == "DaemonSet" and "proxy" in one["metadata"]["name"]]
        assert len({one["metadata"]["name"] for one in sets}) == len(sets) == 3 + len(nodes)
        for index, node in enumerate(nodes):
            labels = {"node-type": "Sat", "kubernetes.io/hostname": node if len(node) < 64 else "short"}
            homes = [one["metadata"]["name"] for one in sets if self.fits(one, labels, node)]
            assert len(homes) == 1
            (subscriber,) = found(one(documents, "Trigger", f"fproxy{index}"), "subscriber")
            assert f"//{homes[0]}." in subscriber["uri"]
        assert all(len(field["values"]) == 1 for fields in found(documents, "matchFields") for field in fields)

    @staticmethod
    def fits(document: Json, labels: Json, name: str = "") -> bool:
        """Whether a node with these labels and this name is one of a DaemonSet's."""
        (terms,) = found(document, "matchExpressions")
        fields = [field for fields in found(document, "matchFields") for field in fields]
        values = labels | {"metadata.name": name}
        return all((values.get(term["key"]) in term["values"]) is (term["operator"] == "In") for term in terms + fields)

    def test_a_component_with_two_functions(self, tmp_path: Path) -> None:
        """The proxy gets it once."""
        lines = [f"  - {{name: {name}, run: proxy, image: x.example/y, tier: Sat}}" for name in "ab"]
        sat = one(
            rendered(cluster_of("\n".join([SMALL, "functions:", *lines]), tmp_path)), "DaemonSet", "skylark-proxy-sat"
        )
        (env,) = found(sat, "env")
        assert [one["value"] for one in env if one["name"] == "SKYLARK_FUNCTIONS"] == ["oci://x.example/y"]

    def test_a_function_for_what_was_not_delivered(self, tmp_path: Path) -> None:
        """`dead_letter` may name a function, which gets the events as its trigger would."""
        text = SMALL + "functions:\n  - {name: lost, run: proxy, image: x, tier: Cloud}\n"
        text += "  - {name: a, run: proxy, image: y, tier: Sat, on_event: x}\nevents: {dead_letter: lost}\n"
        broker = one(rendered(cluster_of(text, tmp_path)), "Broker", "default")
        uri = "http://skylark-proxy-cloud.skylark.svc:30002/functions/lost"
        assert broker["spec"]["delivery"]["deadLetterSink"] == {"uri": uri}


class TestFunctions:
    def test_a_function_with_pods_of_its_own(self, documents: list[Json]) -> None:
        """A Knative Service has its class, its node, its image by digest, its limits, and the way to its proxy."""
        template = one(documents, "Service", "detect", "serving.knative.dev/v1")["spec"]["template"]
        spec, container = template["spec"], template["spec"]["containers"][0]
        assert (spec["runtimeClassName"], spec["nodeSelector"]) == ("wasmtime", {"kubernetes.io/hostname": "sat2"})
        assert (spec["containerConcurrency"], spec["timeoutSeconds"]) == (4, 30)
        assert container["image"].endswith("@sha256:" + "a" * 64)
        variables = {variable["name"]: variable for variable in container["env"]}
        assert variables["LOCAL_NODE_HOST"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"
        # the variable that Kubernetes makes of the name of the Service
        assert variables["SKYLARK_PROXY_URL"]["value"] == "http://$(SKYLARK_PROXY_SERVICE_HOST):30002"
        one(documents, "Service", "skylark-proxy")
        assert variables["MODE"]["value"] == "night"
        annotations = template["metadata"]["annotations"]
        assert annotations["module.wasm.image/variant"] == "compat-smart"
        assert annotations["autoscaling.knative.dev/min-scale"] == "0"
        assert annotations["autoscaling.knative.dev/max-scale"] == "3"
        other = one(documents, "Service", "alarm", "serving.knative.dev/v1")["spec"]["template"]["spec"]
        assert (other["runtimeClassName"], other["nodeSelector"]) == ("wasmedge", {"node-type": "Cloud"})
        assert one(documents, "RuntimeClass", "wasmedge")["handler"] == "crun"

    def test_a_function_for_wasmedge(self, documents: list[Json]) -> None:
        """It gets the way to its proxy as others do; the port is Knative's to tell; it has the memory that a module
        takes before it does anything."""
        spec = one(documents, "Service", "alarm", "serving.knative.dev/v1")["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert [variable["name"] for variable in container["env"]] == [
            "LOCAL_NODE_HOST",
            "SKYLARK_PROXY_URL",
            "SKYLARK_FUNCTION_TOKEN",
        ]
        assert container["ports"] == [{"containerPort": 8080}]
        assert container["resources"]["limits"]["memory"] == "512Mi"
        other = one(documents, "Service", "detect", "serving.knative.dev/v1")["spec"]["template"]["spec"]
        assert other["containers"][0]["resources"]["limits"]["memory"] == "256Mi"

    def test_a_function_of_the_proxy(self, documents: list[Json]) -> None:
        """A hosted function has no pod; the proxies of its pool take its component, and no others do."""
        hosted = {
            document["metadata"]["name"]: value["value"]
            for document, template in pods(documents)
            for value in template["spec"]["containers"][0].get("env", [])
            if value["name"] == "SKYLARK_FUNCTIONS"
        }
        assert hosted == {
            "skylark-proxy-cloud": "oci://reg.example/page:1",
            "skylark-proxy-sat": "oci://reg.example:5000/pre:1",
            "skylark-proxy-node-sat-one": "oci://reg.example:5000/take:1",
        }
        assert not [one for one in documents if one["kind"] == "Service" and one["metadata"]["name"] == "take"]

    def test_the_chain(self, documents: list[Json]) -> None:
        """Each trigger waits for what the function before answers, and sends it where the function is; the bundle's
        destination is the node of the one after."""
        triggers = {
            one["metadata"]["name"]: (one["spec"]["filter"]["attributes"]["type"], one["spec"]["subscriber"])
            for one in documents
            if one["kind"] == "Trigger"
        }
        proxy = "http://skylark-proxy-{}.space.svc:30002/functions/{}"
        assert triggers["take"] == ("dev.knative.sources.ping", {"uri": proxy.format("node-sat-one", "take")})
        assert triggers["preprocess"][0] == f"{REPLY_TYPE}take"
        assert triggers["preprocess"][1] == {"uri": proxy.format("sat", "pre_process?destination=sat2")}
        assert triggers["detect"][0] == f"{REPLY_TYPE}pre_process"
        assert (triggers["detect"][1]["ref"]["name"], triggers["detect"][1]["uri"]) == ("detect", "/")
        assert triggers["alarm"][0] == f"{REPLY_TYPE}detect"
        assert triggers["page"][0] == "io.skylark.alarm"

    def test_what_knative_has_to_allow(self, documents: list[Json], tmp_path: Path) -> None:
        """The flags for what the Services use; registries of the node are not asked for digests. Without such
        functions Knative is left alone."""
        features = one(documents, "ConfigMap", "config-features")["data"]
        wanted = {"runtimeclassname", "nodeselector", "affinity", "fieldref", "dnspolicy"}
        assert features == {f"kubernetes.podspec-{name}": "enabled" for name in wanted}
        skipped = one(documents, "ConfigMap", "config-deployment")["data"]["registries-skipping-tag-resolving"]
        assert skipped.split(",") == ["kind.local", "ko.local", "dev.local", "localhost:32000"]
        operated = cluster_of(FULL.replace("  namespace:", "  knative_operator: true\n  namespace:"), tmp_path)
        serving = one(rendered(operated), "KnativeServing", "knative-serving")
        check_object(serving)
        assert serving["spec"]["config"]["features"] == features
        assert serving["spec"]["config"]["deployment"]["registries-skipping-tag-resolving"] == skipped
        assert not [document for document in rendered(operated) if document["metadata"]["name"].startswith("config-")]
        small = rendered(cluster_of(SMALL, tmp_path))
        assert not [one for one in small if "knative" in f"{one['apiVersion']} {one['metadata'].get('namespace')}"]


class TestDistributions:
    def test_k3s_brings_its_classes(self, tmp_path: Path) -> None:
        """K3s makes the RuntimeClass wasmtime itself; one with another handler is ours."""
        config = for_distribution(cluster_of(FULL, tmp_path), Distribution.K3S)
        names = [one["metadata"]["name"] for one in rendered(config) if one["kind"] == "RuntimeClass"]
        assert names == ["wasmedge"]

    @pytest.mark.parametrize("distribution", list(Distribution))
    def test_a_network_of_pods(self, distribution: Distribution, tmp_path: Path) -> None:
        """Pods of other namespaces are kept out by the network policy, and none is trusted by its address."""
        documents = rendered(for_distribution(cluster_of(SMALL, tmp_path), distribution))
        assert "SKYLARK_LOCAL_NETWORKS" not in one(documents, "ConfigMap", "skylark-proxy")["data"]
        [[pods]] = found(one(documents, "NetworkPolicy", "skylark-proxy"), "except")
        assert pods == TRAITS[distribution].pod_network

    def test_a_network_of_version_6(self, tmp_path: Path) -> None:
        """Whoever is no pod may come in by IPv6 too."""
        text = SMALL.replace("{image", "{pod_network: 'fd01::/48', image")
        policy = one(rendered(cluster_of(text, tmp_path)), "NetworkPolicy", "skylark-proxy")
        assert list(found(policy, "ipBlock")) == [{"cidr": "::/0", "except": ["fd01::/48"]}]


class TestTokens:
    def test_functions_with_pods(self, documents: list[Json]) -> None:
        """Each has a credential of its own in a Secret, which a proxy with the key accepts; hosted ones need none."""
        services = [
            one for one in documents if one["apiVersion"] == "serving.knative.dev/v1" and one["kind"] == "Service"
        ]
        assert services
        for made in services:
            name, [container] = made["metadata"]["name"], made["spec"]["template"]["spec"]["containers"]
            [reference] = [one for one in container["env"] if one["name"] == "SKYLARK_FUNCTION_TOKEN"]
            assert reference["valueFrom"]["secretKeyRef"] == {"name": f"{name}-skylark-token", "key": "token"}
            text = one(documents, "Secret", f"{name}-skylark-token")["stringData"]["token"]
            token = Credential.parse(text).token("c", "t", 0)
            assert verify_token(SECRETS.key, token, 0, 0) == InvocationToken(name, "own", "c", "t")
        assert len([one for one in documents if one["kind"] == "Secret"]) == 2 + len(services)

    def test_the_key_is_read_as_the_proxy_does(self) -> None:
        """A key in hexadecimal and one in text make the same credentials here as `skylark token` does."""
        for text in ("00ff" * 16, "a key in words, which is long enough for this"):
            secrets = Secrets(text, "p")
            assert secrets.key == Config.load({"SKYLARK_PEER_KEY": text}).peer_key

    def test_any_chain(self, tmp_path: Path) -> None:
        """A function may be trusted with all chains; a hosted one says so in its manifest."""
        text = FULL.replace("    run: wasmtime\n", "    run: wasmtime\n    chains: any\n")
        secrets = [one for one in rendered(cluster_of(text, tmp_path)) if one["kind"] == "Secret"]
        assert any("~any~" in one["stringData"].get("token", "") for one in secrets)
        with pytest.raises(InvalidConfig, match="chains"):
            cluster_of(FULL.replace("run: proxy,", "run: proxy, chains: any,", 1), tmp_path)


class TestEncryption:
    @pytest.fixture
    def encrypted(self, tmp_path: Path) -> list[Json]:
        """All objects, with certificates."""
        return rendered(cluster_of(FULL.replace("  namespace:", "  tls_secret: certificates\n  namespace:"), tmp_path))

    @pytest.mark.parametrize("command", ["serve", "node-info"])
    def test_certificates_of_the_nodes(self, encrypted: list[Json], command: str) -> None:
        """Proxies and node-info take the certificate of their node from the Secret, and are asked by TLS."""
        for document, template in pods(encrypted):
            [container] = [one for one in template["spec"]["containers"] if one.get("args") == [command]] or [None]
            if container is None:
                continue
            names = [one["name"] for one in container["env"]]
            values = {one["name"]: one.get("value") for one in container["env"]}
            assert values["SKYLARK_TLS_CERT"] == "/etc/skylark/tls/$(SKYLARK_NODE).crt"
            assert values["SKYLARK_TLS_KEY"] == "/etc/skylark/tls/$(SKYLARK_NODE).key"
            assert values["SKYLARK_TLS_CA"] == "/etc/skylark/tls/ca.crt"
            assert names.index("SKYLARK_NODE") < names.index("SKYLARK_TLS_CERT"), document["metadata"]["name"]
            assert {"name": "tls", "mountPath": "/etc/skylark/tls", "readOnly": True} in container["volumeMounts"]
            volume = next(one for one in template["spec"]["volumes"] if one["name"] == "tls")
            assert volume["secret"]["secretName"] == "certificates"
            assert {probe["scheme"] for probe in found(container, "httpGet")} == {"HTTPS"}

    def test_who_knows_no_tls(self, encrypted: list[Json]) -> None:
        """Functions and events go to the plain port, which only pods may reach; nodes go to the other one by TLS."""
        settings = one(encrypted, "ConfigMap", "skylark-proxy")["data"]
        assert settings["SKYLARK_PLAIN_LISTEN"] == "0.0.0.0:30004"
        assert settings["SKYLARK_NODE_INFO_URL"].startswith("https://")
        ports = {
            made["metadata"]["name"]: made["spec"]["ports"][0].get("targetPort")
            for made in encrypted
            if (made["apiVersion"], made["kind"]) == ("v1", "Service")
        }
        assert ports["skylark-proxy-plain"] == ports["skylark-proxy-sat"] == 30004
        assert ports["skylark-proxy"] == 30002
        rules = one(encrypted, "NetworkPolicy", "skylark-proxy")["spec"]["ingress"]
        [plain] = [rule for rule in rules if rule["ports"][0]["port"] == 30004]
        assert not any("ipBlock" in source for source in plain["from"])
        function = one(encrypted, "Service", "detect", "serving.knative.dev/v1")
        urls = [value for value in found(function, "value") if str(value).startswith("http")]
        assert urls == ["http://$(SKYLARK_PROXY_PLAIN_SERVICE_HOST):30002"]

    def test_kubernetes_accepts_them(self, encrypted: list[Json]) -> None:
        """The objects with certificates are valid too."""
        version = max(one.removesuffix("-local").removesuffix("-strict") for one in VERSIONS)
        for document in encrypted:
            if "knative.dev/" not in document["apiVersion"]:
                check_object(document, version)

    def test_without_a_secret(self, documents: list[Json]) -> None:
        """Without it nothing of this is there."""
        text = str(documents)
        assert "TLS" not in text and "HTTPS" not in text and "plain" not in text.lower().replace("plain_http", "")


def test_secrets_of_ones_own(tmp_path: Path) -> None:
    """Where Secrets are named none are made, and the pods take those."""
    text = SMALL + "redis: {secret: my-redis}\nproxy: {peer_key_secret: my-key}\n"
    config = cluster_of(text, tmp_path)
    assert "03-secrets" not in [part.name for part in render(config, SECRETS)]
    documents = rendered(config)
    assert set(found(documents, "secretName")) == {"my-redis", "my-key"}
    assert {reference["name"] for reference in found(documents, "secretKeyRef")} == {"my-redis"}


def test_registries_that_ask_who_pulls(tmp_path: Path) -> None:
    """The Secret is for the images of all pods, and for the proxies, which pull functions themselves."""
    text = FULL.replace("  namespace:", "  pull_secret: my-login\n  namespace:")
    documents = rendered(cluster_of(text, tmp_path))
    for document, template in pods(documents):
        assert template["spec"]["imagePullSecrets"] == [{"name": "my-login"}]
        check_object(document)
    settings = one(documents, "ConfigMap", "skylark-proxy")["data"]
    pod = one(documents, "DaemonSet", "skylark-proxy-sat")["spec"]["template"]["spec"]
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "registry")
    mount = next(mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "registry")
    assert volume["secret"]["secretName"] == "my-login"
    assert settings["REGISTRY_AUTH_FILE"] == f"{mount['mountPath']}/{volume['secret']['items'][0]['path']}"


HERE = {"app.kubernetes.io/name": "detect"}
PROXY = {"app.kubernetes.io/name": "skylark-proxy"}


@pytest.mark.parametrize(
    ("source", "reaches"),
    [
        ({"namespace": "space", "labels": PROXY, "address": "10.1.0.9"}, {"proxy", "redis", "node-info"}),
        ({"namespace": "space", "labels": HERE, "address": "10.1.0.9"}, {"proxy"}),
        ({"namespace": "knative-eventing", "labels": {}, "address": "10.1.0.9"}, {"proxy"}),
        ({"namespace": "default", "labels": PROXY, "address": "10.1.0.9"}, set()),
        ({"namespace": None, "labels": {}, "address": "203.0.113.7"}, {"proxy"}),
        ({"namespace": None, "labels": {}, "address": "192.0.2.7"}, {"proxy", "redis", "node-info"}),
    ],
    ids=["a proxy", "a function", "the broker", "a pod elsewhere", "another machine", "an operator"],
)
def test_who_reaches_what(source: Json, reaches: set[str], documents: list[Json]) -> None:
    """Redis and node-info are for proxies and operators, the proxy is for all but pods of other namespaces."""
    policies = [document for document in documents if document["kind"] == "NetworkPolicy"]
    open_to = {
        policy["metadata"]["name"].removeprefix("skylark-")
        for policy in policies
        if any(lets_in(peer, source, "space") for rule in policy["spec"]["ingress"] for peer in rule["from"])
    }
    assert open_to == reaches


def lets_in(peer: Json, source: Json, namespace: str) -> bool:
    """Whether a peer of a network policy is a source (Kubernetes, "Network Policies")."""
    if "ipBlock" in peer:
        address = ip_address(source["address"])
        excepted = any(address in ip_network(network) for network in peer["ipBlock"].get("except", []))
        return address in ip_network(peer["ipBlock"]["cidr"]) and not excepted
    if "namespaceSelector" in peer:
        return bool(peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": source["namespace"]})
    wanted = peer["podSelector"].get("matchLabels", {})
    return bool(source["namespace"] == namespace and wanted.items() <= source["labels"].items())


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("7", 7),
        ("1k", 1000),
        ("3M", 3_000_000),
        ("2Ki", 2048),
        ("1.5Gi", 3 << 29),
        ("0.5Ti", 1 << 39),
        ("1Gi", 1 << 30),
    ],
)
def test_quantities(text: str, size: int) -> None:
    """Decimal and binary units."""
    assert size_bytes(text) == size


def test_what_is_no_size() -> None:
    """A share of a processor, or nothing at all, is no size."""
    for text in ("100m", "", "Mi", "1 Mi"):
        with pytest.raises(ValueError):
            size_bytes(text)
