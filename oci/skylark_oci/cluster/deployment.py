"""Puts a rendered cluster in place, waits until it works, and removes it again."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from skylark_oci.cluster.api import Cluster, title
from skylark_oci.cluster.changes import Action, Change, change, compared, is_kept, is_ours
from skylark_oci.cluster.errors import ClusterUnreachable, MissingKinds, NoNodes, NotAllowed, NotReady
from skylark_oci.cluster.readiness import homeless, missing, waits
from skylark_oci.cluster.reasons import reason, selector_of
from skylark_oci.cluster.shared import merged, unnamed, without_ours
from skylark_oci.manifests import names
from skylark_oci.manifests.documents import Document
from skylark_oci.manifests.render import Part, identity

_OURS = f"{names.MANAGED_BY}=skylark,{names.PART_OF}=skylark"
_PRUNED = (
    ("apps/v1", "DaemonSet"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("serving.knative.dev/v1", "Service"),
    ("eventing.knative.dev/v1", "Broker"),
    ("eventing.knative.dev/v1", "Trigger"),
    ("sources.knative.dev/v1", "PingSource"),
)
"""Kinds of which a configuration may have had more at an earlier time."""


@dataclass(frozen=True)
class Deployment:
    """The objects of a configuration, and the cluster that they are for.

    Attributes:
        on_change: Is told of each object that was applied or deleted.
        on_wait: Is told, time and again, what is waited for.
        poll_s: How often it is looked whether that is so.
    """

    cluster: Cluster
    parts: Sequence[Part]
    on_change: Callable[[Change], None] = lambda _change: None
    on_wait: Callable[[Sequence[str]], None] = lambda _pending: None
    poll_s: float = 1.0

    @property
    def documents(self) -> list[Document]:
        """All objects, in the order in which they are applied."""
        return [document for part in self.parts for document in part.documents]

    @property
    def namespace(self) -> str:
        """The namespace that everything but what is the cluster's own lies in."""
        return next(str(one["metadata"]["name"]) for one in self.documents if one["kind"] == "Namespace")

    def check(self) -> None:
        """Looks whether the cluster knows all kinds of objects.

        Raises:
            MissingKinds: It does not.
        """
        kinds = {(document["apiVersion"], document["kind"]): None for document in self.documents}
        lacking = [(api, kind) for api, kind in kinds if not self.cluster.knows(api, kind)]
        if lacking:
            raise MissingKinds([f"{kind} ({api})" for api, kind in lacking], _advice([api for api, _ in lacking]))

    def apply(self, dry_run: bool = False) -> list[Change]:
        """Applies all objects and deletes those that an earlier configuration had.

        Args:
            dry_run: Has the server say what it would do, and changes nothing.

        Raises:
            ClusterUnreachable: The API went away; what it has stays, and the error says how far it came.
            NotAllowed, Rejected: An object was refused; those before it stay.
        """
        self.check()
        changes: list[Change] = []
        try:
            for document in self.documents:
                changes.append(self._applied(document, changes, dry_run))
                self.on_change(changes[-1])
            for stale in self._stale():
                if not dry_run:
                    self.cluster.delete(stale)
                changes.append(change(stale, Action.DELETED))
                self.on_change(changes[-1])
            for shared in unnamed(self.documents):
                changes += self._taken_back(shared, dry_run)
        except ClusterUnreachable as error:
            done = f"{len(changes)} of {len(self.documents)} objects were applied before"
            raise ClusterUnreachable(error.host, f"{error.reason} ({done}; run it again)") from error
        return changes

    def wait(self, timeout_s: float) -> None:
        """Waits until all objects are ready. While the API is away it is asked again.

        Raises:
            NotReady: They are not in time; the error says which, and what they lack.
            NoNodes: All are, but there is no node for a proxy that hosts functions, or for any.
        """
        waiting = [document for document in self.documents if waits(document)]
        self._until(lambda: self._unready(waiting), time.monotonic() + timeout_s)
        empty = homeless([live for live in map(self.cluster.get, waiting) if live is not None])
        if empty:
            raise NoNodes(empty)

    def remove(self, timeout_s: float, purge: Document | None = None) -> list[Change]:
        """Deletes the objects in reverse order and waits until they are gone. What others have made stays, and so does
        what Knative was told, which says that its flags cannot safely be disabled.

        Args:
            purge: A DaemonSet that empties the folders of the nodes; without one they keep their data.

        Raises:
            NotReady: They are not gone in time.
        """
        deadline = time.monotonic() + timeout_s
        space = [one for one in self.documents if one["kind"] in ("Namespace", "PriorityClass")]
        others = [one for one in reversed(self.documents) if one not in space]
        changes = self._deleted([*others, *self._stale()], deadline)
        for shared in unnamed(self.documents):
            changes += self._taken_back(shared)
        if purge is not None and self.cluster.get(space[0]) is not None:
            self._run(purge, deadline)
        return changes + self._deleted(space[::-1], deadline)

    def _applied(self, document: Document, before: Sequence[Change], dry_run: bool) -> Change:
        live = self.cluster.get(document)
        if is_kept(document, live):
            return change(document, Action.KEPT)
        space = document["metadata"].get("namespace")
        if dry_run and any((one.kind, one.name, one.action) == ("Namespace", space, Action.CREATED) for one in before):
            return change(document, Action.CREATED)  # the server cannot try it in a namespace that is not there
        return compared(document, live, self.cluster.apply(merged(document, live), dry_run))

    def _stale(self) -> Iterator[Document]:
        """Objects of an earlier configuration. Those with an owner were made by others, with copies of our labels."""
        wanted = {identity(document) for document in self.documents}
        for api, kind in _PRUNED:
            for live in self.cluster.find(api, kind, self.namespace, _OURS):
                if identity(live) not in wanted and not live["metadata"].get("ownerReferences"):
                    yield live

    def _unready(self, waiting: Sequence[Document]) -> list[str]:
        pending = []
        for document in waiting:
            live = self.cluster.get(document)
            lacks = "not there" if live is None else missing(live)
            if lacks is not None:
                why = None if live is None else self._reason(live)
                pending.append(": ".join(filter(None, (title(document), lacks, why))))
        return pending

    def _reason(self, live: Document) -> str | None:
        """Ask the cluster why an object is not ready; None if it does not say, or not to us."""
        selector, space = selector_of(live), live["metadata"].get("namespace") or self.namespace
        try:
            pods = self.cluster.find("v1", "Pod", space, selector) if selector else []
            return reason(live, pods, self.cluster.find("v1", "Event", space, ""))
        except NotAllowed:
            return None

    def _deleted(self, documents: Sequence[Document], deadline: float) -> list[Change]:
        changes, gone = [], []
        for document in documents:
            live = self.cluster.get(document)
            if live is None:
                continue
            if is_ours(live):
                self.cluster.delete(document)
                gone.append(document)
                changes.append(change(document, Action.DELETED))
            else:
                changes.append(self._left(document, live))
            self.on_change(changes[-1])
        self._until(lambda: [f"{title(one)} is still there" for one in gone if self._is_there(one)], deadline)
        return changes

    def _left(self, document: Document, live: Document) -> Change:
        """Leave an object of others, without what we have added to their lists."""
        rest = without_ours(document, live)
        if rest is None:
            return change(document, Action.KEPT)
        return compared(document, live, self.cluster.apply(rest))

    def _taken_back(self, shared: Document, dry_run: bool = False) -> list[Change]:
        """Take what an earlier configuration has added out of an object of others."""
        try:
            live = self.cluster.get(shared)
        except NotAllowed:
            return []  # then we have added nothing either
        rest = None if live is None else without_ours(shared, live)
        if rest is None:
            return []
        made = compared(rest, live, self.cluster.apply(rest, dry_run))
        self.on_change(made)
        return [made]

    def _is_there(self, document: Document) -> bool:
        live = self.cluster.get(document)
        return live is not None and is_ours(live)

    def _run(self, purge: Document, deadline: float) -> None:
        """Runs pods on all nodes once."""
        self.cluster.apply(purge)
        self._until(lambda: self._unready([purge]), deadline)
        self.cluster.delete(purge)
        self._until(lambda: [f"{title(purge)} is still there"] if self._is_there(purge) else [], deadline)

    def _until(self, pending: Callable[[], list[str]], deadline: float) -> None:
        """Waits until nothing is pending."""
        started = time.monotonic()
        while True:
            try:
                left = pending()
            except ClusterUnreachable as error:
                left = [error.message]
            if not left:
                return
            if time.monotonic() >= deadline:
                raise NotReady(round(deadline - started), left)
            self.on_wait(left)
            time.sleep(self.poll_s)


def _advice(apis: Collection[str]) -> str:
    """What to install."""
    if not all("knative.dev/" in api for api in apis):
        return "a Kubernetes of version 1.26 or newer is needed"
    if any(api.startswith("operator.") for api in apis):
        return "install the Knative Operator, or leave out cluster.knative_operator"
    parts = [part for part in ("serving", "eventing", "sources") if any(api.startswith(part) for api in apis)]
    named = " and ".join(dict.fromkeys("Serving" if part == "serving" else "Eventing" for part in parts))
    return f"install Knative {named} (https://knative.dev/docs/install)"
