"""A small Kubernetes API server for tests, over HTTPS: discovery, server-side apply, deletion, watches, controllers.

It is no Kubernetes. It checks objects as one does (schemas, namespaces, pinned and immutable fields, who owns which
field), and its controllers say of an object that it is ready without running anything.
"""

import base64
import contextlib
import copy
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jsonschema  # type: ignore[import-untyped]
import trustme
import yaml

from field_ownership import Conflict, Owned
from kubernetes_api import TOKEN, kubeconfig_of, status
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


@contextlib.contextmanager
def run_cluster_api(folder: Path) -> Iterator[tuple[ClusterApi, Path]]:
    """Runs the server; hands out its state, and a kubeconfig that leads to it."""
    api, authority = ClusterApi(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(_Handler):
        state = api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}),
        threading.Thread(target=api.control),
    ]
    for thread in threads:
        thread.start()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    kubeconfig = folder / "kubeconfig"
    url = f"https://127.0.0.1:{server.server_address[1]}"
    kubeconfig.write_text(json.dumps(kubeconfig_of(url, folder / "ca.pem")))
    try:
        yield api, kubeconfig
    finally:
        api.close()
        server.shutdown()
        for thread in threads:
            thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: ClusterApi

    def do_GET(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        away = self.state.away_after
        if away is not None and len(self.state.writes) >= away:
            self.close_connection = True
            return
        url = urlsplit(self.path)
        self._query = {name: values[0] for name, values in parse_qs(url.query).items()}
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, "Unauthorized", "Unauthorized")
            parts = [unquote(part) for part in url.path.strip("/").split("/")]
            self._route(parts, body)
        except Refused as refused:
            self._answer(refused.code, refused.answer)

    def _route(self, parts: list[str], body: bytes) -> None:
        found = _discovery(parts, self.state.kinds())
        if found is not None:
            self._answer(200, found)
            return
        api, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        namespace = None
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        if not rest or not any((one.api, one.plural) == (api, rest[0]) for one in self.state.kinds()):
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if len(rest) == 1:
            self._many(api, rest[0], namespace)
        else:
            self._one((api, rest[0], namespace, rest[1]), body)

    def _many(self, api: str, plural: str, namespace: str | None) -> None:
        if "watch" in self._query:
            self._stream(api, plural, int(self._query.get("resourceVersion", "0")))
            return
        self._answer(200, self.state.listed(api, plural, namespace, self._chosen))

    def _one(self, key: Key, body: bytes) -> None:
        dry_run = self._query.get("dryRun") == "All"
        if self.command == "GET":
            self._answer(200, self.state.get(key))
        elif self.command == "DELETE":
            self._answer(200, self.state.delete(key))
        elif self.headers.get("Content-Type") == "application/apply-patch+yaml":
            force = self._query.get("force") in ("true", "True")
            manager = self._query["fieldManager"]
            document, is_new = self.state.apply(key, yaml.safe_load(body), manager, force, dry_run)
            self._answer(201 if is_new else 200, document)
        else:
            raise Refused(415, "UnsupportedMediaType", str(self.headers.get("Content-Type")))

    def _chosen(self, document: Json) -> bool:
        wanted = filter(None, self._query.get("labelSelector", "").split(","))
        labels = document["metadata"].get("labels") or {}
        named = self._query.get("fieldSelector", "")
        return all("{}={}".format(name := one.partition("=")[0], labels.get(name)) == one for one in wanted) and (
            not named or named == f"metadata.name={document['metadata']['name']}"
        )

    def _answer(self, code: int, content: Json) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, api: str, plural: str, since: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            for event in self.state.events(api, plural, since, self._chosen):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")


def _discovery(parts: list[str], kinds: tuple[Kind, ...]) -> Json | None:
    """The answers by which a client finds out what the server knows; None for other paths."""
    if parts == ["version"]:
        return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if parts == ["apis"]:
        groups = dict.fromkeys(one.api for one in kinds if "/" in one.api)
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(api) for api in groups]}
    api = "v1" if parts == ["api", "v1"] else "/".join(parts[1:]) if parts[0] == "apis" and len(parts) == 3 else None
    known = [one for one in kinds if one.api == api]
    if not known:
        return None
    resources = [
        {
            "name": one.plural,
            "singularName": one.name.lower(),
            "namespaced": one.namespaced,
            "kind": one.name,
            "verbs": ["delete", "get", "list", "patch", "watch"],
        }
        for one in known
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": resources}


def _group(api: str) -> Json:
    group, _, version = api.partition("/")
    versions = {"groupVersion": api, "version": version}
    return {"name": group, "versions": [versions], "preferredVersion": versions}
