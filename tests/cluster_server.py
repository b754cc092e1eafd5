"""Serves `cluster_api` over HTTPS, with discovery, as real clients see an API server."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from cluster_api import ClusterApi, Key, Kind, Refused
from kubernetes_api import TOKEN, serving

Json = dict[str, Any]


@contextlib.contextmanager
def run_cluster_api(folder: Path) -> Iterator[tuple[ClusterApi, Path]]:
    """Runs the server; hands out its state, and a kubeconfig that leads to it."""
    api = ClusterApi()

    class Handler(_Handler):
        state = api

    with serving(Handler, folder) as (_, kubeconfig):
        controller = threading.Thread(target=api.control)
        controller.start()
        try:
            yield api, kubeconfig
        finally:
            api.close()
            controller.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: ClusterApi

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
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
            self._many(api, rest[0], namespace, body)
        else:
            self._one((api, rest[0], namespace, rest[1]), body)

    def _many(self, api: str, plural: str, namespace: str | None, body: bytes) -> None:
        if self.command == "POST":
            created = json.loads(body)
            key = (api, plural, namespace, created["metadata"]["name"])
            self._answer(201, self.state.create(key, created, self._query.get("fieldManager", "client")))
            return
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
            "verbs": ["create", "delete", "get", "list", "patch", "watch"],
        }
        for one in known
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": resources}


def _group(api: str) -> Json:
    group, _, version = api.partition("/")
    versions = {"groupVersion": api, "version": version}
    return {"name": group, "versions": [versions], "preferredVersion": versions}
