"""What a small Kubernetes API server for tests knows and does: server-side apply, deletion, watches, controllers.

`cluster_server` serves it. It is no Kubernetes. It checks objects as one does (schemas, namespaces, pinned and
immutable fields, who owns which field), and its controllers say of an object that it is ready without running anything.
"""

import base64
import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from field_ownership import Conflict, Owned
from kubernetes_api import status
from object_schemas import check_object

Json = dict[str, Any]
Key = tuple[str, str, str | None, str]
"""API version, plural, namespace, name."""


@dataclass(frozen=True)
class Kind:
    """A kind of objects that the server knows."""

    api: str
    name: str
    plural: str
    namespaced: bool = True


_RBAC, _KNATIVE = "rbac.authorization.k8s.io/v1", ("serving.", "eventing.", "sources.", "operator.")
KINDS = (
    Kind("v1", "Namespace", "namespaces", namespaced=False),
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "Secret", "secrets"),
    Kind("v1", "Service", "services"),
    Kind("v1", "Pod", "pods"),
    Kind("v1", "Event", "events"),
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("apps/v1", "DaemonSet", "daemonsets"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Kind("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", namespaced=False),
    Kind("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False),
    Kind(_RBAC, "ClusterRole", "clusterroles", namespaced=False),
    Kind(_RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    Kind("serving.knative.dev/v1", "Service", "services"),
    Kind("eventing.knative.dev/v1", "Broker", "brokers"),
    Kind("eventing.knative.dev/v1", "Trigger", "triggers"),
    Kind("sources.knative.dev/v1", "PingSource", "pingsources"),
    Kind("operator.knative.dev/v1beta1", "KnativeServing", "knativeservings"),
)
_COUNTS = (
    "desiredNumberScheduled",
    "currentNumberScheduled",
    "updatedNumberScheduled",
    "numberReady",
    "numberAvailable",
)
_IMMUTABLE = {"runtimeclasses": ("handler",), "daemonsets": ("spec", "selector")}


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.answer = status(code, reason, message)
        self.code = code


class ClusterApi:
    """The state of the server, which a test changes.

    Attributes:
        knative: Whether Knative is installed.
        nodes: The nodes' labels.
        holding: Whether nothing becomes ready.
        forbidden: Plurals that nobody may write.
        away_after: After how many writes the server breaks every connection; None: never.
        writes: The writes that changed something, as (verb, plural, name).
    """

    def __init__(self) -> None:
        self.knative = True
        self.nodes: list[Json] = [{"node-type": tier} for tier in ("Cloud", "Sat", "Sat", "Sat")]
        self.holding = False
        self.forbidden: set[str] = set()
        self.away_after: int | None = None
        self.writes: list[tuple[str, str, str]] = []
        self._changed = threading.Condition()
        self._objects: dict[Key, Owned] = {}
        self._events: list[tuple[int, str, str, Json]] = []
        self._version = 100
        self._closing = False
        for name in ("default", "kube-system", "knative-serving", "knative-eventing"):
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in ("config-features", "config-deployment"):
            metadata = {"name": name, "namespace": "knative-serving"}
            self.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"_example": "# none"}})

    def put(self, document: Json, manager: str = "somebody") -> None:
        """Applies an object as somebody else."""
        kind = next(one for one in KINDS if (one.api, one.name) == (document["apiVersion"], document["kind"]))
        metadata = document["metadata"]
        self.apply((kind.api, kind.plural, metadata.get("namespace"), metadata["name"]), document, manager, True, False)

    def find(self, kind: str, name: str, api: str | None = None) -> Json | None:
        """The object of a kind and a name; None where there is none."""
        with self._changed:
            found = (owned.document for owned in self._objects.values())
            return next(
                (
                    copy.deepcopy(one)
                    for one in found
                    if one["kind"] == kind and one["metadata"]["name"] == name and api in (None, one["apiVersion"])
                ),
                None,
            )

    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that the server knows now."""
        return tuple(one for one in KINDS if self.knative or not one.api.startswith(_KNATIVE))

    def get(self, key: Key) -> Json:
        """An object."""
        with self._changed:
            return copy.deepcopy(self._owned(key).document)

    def listed(self, api: str, plural: str, namespace: str | None, chosen: Callable[[Json], bool]) -> Json:
        """The objects of a kind, as a list of the API."""
        with self._changed:
            kind = next(one for one in KINDS if (one.api, one.plural) == (api, plural))
            items = [
                copy.deepcopy(owned.document)
                for key, owned in self._objects.items()
                if key[:2] == (api, plural) and namespace in (None, key[2]) and chosen(owned.document)
            ]
            version = str(self._version)
        # as in the real API, items of a list do not say what they are
        for item in items:
            del item["apiVersion"], item["kind"]
        metadata = {"resourceVersion": version}
        return {"apiVersion": api, "kind": f"{kind.name}List", "metadata": metadata, "items": items}

    def apply(self, key: Key, config: Json, manager: str, force: bool, dry_run: bool) -> tuple[Json, bool]:
        """Server-side apply. Returns the object, and whether it is new."""
        with self._changed:
            self._admit(key, config)
            before = self._objects.get(key)
            head = {name: config[name] for name in ("apiVersion", "kind")}
            place = {"name": key[3]} | ({"namespace": key[2]} if key[2] else {})
            try:
                after = (before or Owned(head | {"metadata": place})).applied(manager, _stored(config), force)
            except Conflict as conflict:
                raise Refused(409, "Conflict", str(conflict)) from conflict
            if before is not None and after.document == before.document:
                if not dry_run:
                    self._objects[key] = after
                return copy.deepcopy(after.document), False
            self._check_pinned(key, before, after.document)
            metadata = after.document["metadata"]
            metadata["generation"] = metadata.get("generation", 0) + _raises_generation(before, after.document)
            if not dry_run:
                self._set(key, after, "apply")
            return copy.deepcopy(after.document), before is None

    def create(self, key: Key, document: Json, manager: str) -> Json:
        """Creates an object, and refuses one that is there."""
        with self._changed:
            if key in self._objects:
                raise Refused(409, "AlreadyExists", f'{key[1]} "{key[3]}" already exists')
            return self.apply(key, document, manager, force=False, dry_run=False)[0]

    def delete(self, key: Key) -> Json:
        """Begins to delete an object; the controllers end it."""
        with self._changed:
            self._admit_writer(key)
            owned = self._owned(key)
            doomed = copy.deepcopy(owned)
            doomed.document["metadata"]["deletionTimestamp"] = "2000-01-01T00:00:00Z"
            self._set(key, doomed, "delete")
            return copy.deepcopy(doomed.document)

    def events(self, api: str, plural: str, since: int, chosen: Callable[[Json], bool]) -> Iterator[Json]:
        """The events of a watch, until the server ends."""
        while True:
            with self._changed:
                while self._version <= since and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                fresh = [one for one in self._events if one[0] > since and one[1] == f"{api}/{plural}"]
                since = self._version
            for _, _, kind, document in fresh:
                if chosen(document):
                    yield {"type": kind, "object": document}

    def control(self) -> None:
        """The controllers: says of all objects that they are ready, ends deletions; until the server ends."""
        with self._changed:
            while not self._closing:
                if not self._step():
                    self._changed.wait()

    def release(self) -> None:
        """Lets objects become ready again."""
        with self._changed:
            self.holding = False
            self._changed.notify_all()

    def relabel(self, nodes: list[Json]) -> None:
        """Has other nodes, by their labels."""
        with self._changed:
            self.nodes = nodes
            self._changed.notify_all()

    def close(self) -> None:
        """Ends watches and controllers."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def _step(self) -> bool:
        """Does one thing, if there is any to do."""
        for key, owned in list(self._objects.items()):
            if "deletionTimestamp" in owned.document["metadata"] and not self.holding:
                return self._ended(key)
            settled = _settled(owned.document, self.nodes)
            if settled is not None and not self.holding and owned.document.get("status") != settled:
                self._set(key, Owned(owned.document | {"status": settled}, owned.managers))
                return True
        return False

    def _ended(self, key: Key) -> bool:
        if key[1] == "namespaces":
            for inner in [one for one in self._objects if one[2] == key[3]]:
                self._remove(inner)
        self._remove(key)
        return True

    def _remove(self, key: Key) -> None:
        self._version += 1
        self._emit(key, "DELETED", self._objects.pop(key).document)

    def _set(self, key: Key, owned: Owned, verb: str | None = None) -> None:
        self._version += 1
        owned.document["metadata"]["resourceVersion"] = str(self._version)
        kind = "MODIFIED" if key in self._objects else "ADDED"
        self._objects[key] = owned
        self._emit(key, kind, owned.document)
        if verb is not None:
            self.writes.append((verb, key[1], key[3]))

    def _emit(self, key: Key, kind: str, document: Json) -> None:
        self._events.append((self._version, f"{key[0]}/{key[1]}", kind, copy.deepcopy(document)))
        self._changed.notify_all()

    def _owned(self, key: Key) -> Owned:
        if key not in self._objects:
            raise Refused(404, "NotFound", f'{key[1]} "{key[3]}" not found')
        return self._objects[key]

    def _admit(self, key: Key, config: Json) -> None:
        self._admit_writer(key)
        if key[2] is not None and ("v1", "namespaces", None, key[2]) not in self._objects:
            raise Refused(404, "NotFound", f'namespaces "{key[2]}" not found')
        try:
            check_object(config)
        except jsonschema.ValidationError as error:
            raise Refused(422, "Invalid", f'{config["kind"]} "{key[3]}" is invalid: {error.message}') from error

    def _admit_writer(self, key: Key) -> None:
        if key[1] in self.forbidden:
            message = f'{key[1]} "{key[3]}" is forbidden: User "test" cannot patch resource "{key[1]}"'
            raise Refused(403, "Forbidden", message)

    def _check_pinned(self, key: Key, before: Owned | None, after: Json) -> None:
        path = _IMMUTABLE.get(key[1], ())
        if before is not None and path and _at(before.document, path) != _at(after, path):
            raise Refused(422, "Invalid", f'{key[1]} "{key[3]}" is invalid: {".".join(path)}: field is immutable')
        for port in _node_ports(after):
            if not 30000 <= port <= 32767:
                raise Refused(422, "Invalid", f"nodePort {port}: provided port is not in the valid range")
            if any(port in _node_ports(owned.document) for other, owned in self._objects.items() if other != key):
                raise Refused(422, "Invalid", f"nodePort {port}: provided port is already allocated")


def _at(document: Json, path: tuple[str, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def _node_ports(document: Json) -> list[int]:
    if (document["apiVersion"], document["kind"]) != ("v1", "Service"):
        return []
    return [port["nodePort"] for port in document["spec"]["ports"] if "nodePort" in port]


def _stored(config: Json) -> Json:
    """A configuration as the server keeps it: a Secret's texts as Base64."""
    if config["kind"] != "Secret" or "stringData" not in config:
        return config
    data = {name: base64.b64encode(text.encode()).decode() for name, text in config["stringData"].items()}
    return {key: value for key, value in config.items() if key != "stringData"} | {"data": data}


def _raises_generation(before: Owned | None, after: Json) -> int:
    return int(before is None or before.document.get("spec") != after.get("spec"))


def _settled(document: Json, nodes: list[Json]) -> Json | None:
    """The status of an object whose controller has done all; None for kinds without one."""
    generation = document["metadata"].get("generation", 1)
    if document["kind"] == "DaemonSet":
        pods = sum(_fits(document, labels) for labels in nodes)
        return {"observedGeneration": generation} | dict.fromkeys(_COUNTS, pods)
    if document["apiVersion"].startswith(_KNATIVE):
        return {"observedGeneration": generation, "conditions": [{"type": "Ready", "status": "True"}]}
    return None


def _fits(document: Json, labels: Json) -> bool:
    """Whether a DaemonSet has a pod on a node with these labels."""
    affinity = document["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return any(all(_holds(one, labels) for one in term["matchExpressions"]) for term in terms)


def _holds(expression: Json, labels: Json) -> bool:
    is_in = labels.get(expression["key"]) in expression["values"]
    return is_in if expression["operator"] == "In" else not is_in
