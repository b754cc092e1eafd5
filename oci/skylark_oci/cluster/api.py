"""The Kubernetes API as far as it is needed here, by the official client; its errors become ours."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from skylark_oci.cluster.errors import ClusterUnreachable, NoCluster, NotAllowed, Rejected
from skylark_oci.manifests.documents import Document

MANAGER = "skylark"
"""Who owns the fields that are applied."""

_TIMEOUT_S = (5, 30)
"""For connecting, and for an answer."""


def title(document: Document) -> str:
    """An object for people: `daemonset/skylark-redis`."""
    return f"{document['kind'].lower()}/{document['metadata']['name']}"


def connect(context: str | None = None) -> "Cluster":
    """The cluster of a context of the kubeconfig; without one that in which this runs, else the current context's.

    Raises:
        NoCluster: There is none, or the extra `kubernetes` is not installed.
        ClusterUnreachable: It does not answer.
        NotAllowed: It does not know who asks.
    """
    try:
        kubernetes: Any = import_module("kubernetes")
        dynamic: Any = import_module("kubernetes.dynamic")
    except ImportError as error:
        raise NoCluster("the official client is not installed: pip install 'skylark[kubernetes]'") from error
    client = _client(kubernetes, context)
    with tempfile.TemporaryDirectory() as folder, _translated(client.configuration.host, "asking what it knows"):
        # a file of its own: what a cluster knew an hour ago is not what it knows now
        return Cluster(dynamic.DynamicClient(client, cache_file=str(Path(folder) / "discovery")))


class Cluster:
    """Reads and changes objects.

    All raise ClusterUnreachable, NotAllowed or Rejected.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.host: str = client.configuration.host

    def knows(self, api: str, kind: str) -> bool:
        """Whether there are objects of a kind."""
        from kubernetes.dynamic.exceptions import ResourceNotFoundError

        with self._asking(f"{kind} of {api}"):
            try:
                self._resource(api, kind)
            except ResourceNotFoundError:
                return False
            return True

    def get(self, document: Document) -> Document | None:
        """An object as it is now; None where there is none."""
        from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

        with self._asking(f"reading {title(document)}"):
            try:
                return self._plain(self._of(document).get(**_place(document), _request_timeout=_TIMEOUT_S))
            except (NotFoundError, ResourceNotFoundError):
                return None

    def find(self, api: str, kind: str, namespace: str, selector: str) -> list[Document]:
        """The objects of a kind in a namespace that a label selector chooses; none where the kind is not known."""
        from kubernetes.dynamic.exceptions import ResourceNotFoundError

        with self._asking(f"listing {kind}"):
            try:
                resource = self._resource(api, kind)
            except ResourceNotFoundError:
                return []
            found = resource.get(namespace=namespace, label_selector=selector, _request_timeout=_TIMEOUT_S)
            return [{"apiVersion": api, "kind": kind} | item for item in self._plain(found)["items"]]

    def apply(self, document: Document, dry_run: bool = False) -> Document:
        """Applies an object on the server's side; its fields are ours from then on. Returns it as it is then."""
        with self._asking(f"applying {title(document)}"):
            applied = self._of(document).server_side_apply(
                body=document,
                **_place(document),
                field_manager=MANAGER,
                force_conflicts=True,
                dry_run="All" if dry_run else None,
                _request_timeout=_TIMEOUT_S,
            )
            return self._plain(applied)

    def delete(self, document: Document) -> None:
        """Deletes an object and what it has made, which may take a while; one that is not there is no error."""
        from kubernetes.dynamic.exceptions import NotFoundError

        with self._asking(f"deleting {title(document)}"):
            try:
                resource = self._of(document)
                resource.delete(**_place(document), propagation_policy="Foreground", _request_timeout=_TIMEOUT_S)
            except NotFoundError:
                pass

    def _of(self, document: Document) -> Any:
        return self._resource(document["apiVersion"], document["kind"])

    def _resource(self, api: str, kind: str) -> Any:
        return self._client.resources.get(prefix="apis" if "/" in api else "api", api_version=api, kind=kind)

    @staticmethod
    def _plain(instance: Any) -> Document:
        plain: Document = instance.to_dict()
        return plain

    def _asking(self, what: str) -> Any:
        return _translated(self.host, what)


def _place(document: Document) -> dict[str, str]:
    metadata = document["metadata"]
    place = {"name": metadata["name"]}
    return place | ({"namespace": metadata["namespace"]} if "namespace" in metadata else {})


def _client(kubernetes: Any, context: str | None) -> Any:
    config = kubernetes.config
    configuration = kubernetes.client.Configuration()
    try:
        if context is None and _in_cluster(config, configuration):
            return kubernetes.client.ApiClient(configuration)
        config.load_kube_config(context=context, client_configuration=configuration)
    except (config.ConfigException, OSError, ValueError) as error:
        raise NoCluster(str(error)) from error
    return kubernetes.client.ApiClient(configuration)


def _in_cluster(config: Any, configuration: Any) -> bool:
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        return False
    return True


@contextmanager
def _translated(host: str, what: str) -> Iterator[None]:
    """The errors of the client and of the connection as ours."""
    from kubernetes.client.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        reason = _reason(error)
        if error.status in (401, 403):
            raise NotAllowed(what, reason) from error
        if error.status == 429 or error.status >= 500:
            raise ClusterUnreachable(host, f"while {what}: {reason}") from error
        raise Rejected(what, reason) from error
    except (HTTPError, OSError, ValueError) as error:
        cause = getattr(error, "reason", None) or error
        raise ClusterUnreachable(host, f"while {what}: {type(cause).__name__}: {cause}"[:300]) from error


def _reason(error: Any) -> str:
    """The sentence of the API's `Status`, else its HTTP status."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"{error.status} {error.reason}"
