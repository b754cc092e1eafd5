"""What can go wrong between here and a cluster."""

from collections.abc import Sequence

from skylark_oci.manifests.errors import ManifestError


class ClusterError(ManifestError):
    """Base of the errors of a cluster."""


class NoCluster(ClusterError):
    """Nothing says where the cluster is."""

    code = "config"

    def __init__(self, reason: str) -> None:
        super().__init__(f"no cluster: {reason}; name one with --context or KUBECONFIG, or run in one")
        self.reason = reason


class ClusterUnreachable(ClusterError):
    """The API does not answer. What was applied before stays; applying all of it again does no harm."""

    code = "unavailable"
    retryable = True

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"the Kubernetes API at {host} cannot be reached: {reason}")
        self.host = host
        self.reason = reason


class NotAllowed(ClusterError):
    """The API refuses who asks."""

    code = "forbidden"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"the cluster does not allow {what}: {reason}")
        self.what = what
        self.reason = reason


class Rejected(ClusterError):
    """The API takes an object for wrong, or it collides with one that is there."""

    code = "invalid-argument"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"the cluster rejects {what}: {reason}")
        self.what = what
        self.reason = reason


class UnusableSecret(ClusterError):
    """A Secret that the cluster has is not what the pods need; nothing was applied."""

    code = "invalid-argument"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the cluster's secret {name} cannot be used: {reason}")
        self.name = name
        self.reason = reason


class MissingKinds(ClusterError):
    """The cluster does not know some kinds of objects; nothing was applied."""

    code = "not-found"

    def __init__(self, kinds: Sequence[str], advice: str) -> None:
        super().__init__(f"the cluster knows no {', '.join(kinds)}; {advice}")
        self.kinds = tuple(kinds)


class NoNodes(ClusterError):
    """There are no nodes for some proxies, so what they host runs nowhere."""

    code = "not-found"

    def __init__(self, proxies: Sequence[str]) -> None:
        advice = (
            "label nodes with kubectl label node NAME node-type=Cloud (or Edge, Sat), and name nodes that are there"
        )
        super().__init__(f"no node of the cluster is for {', '.join(proxies)}; {advice}")
        self.proxies = tuple(proxies)


class NotReady(ClusterError):
    """Not everything was ready, or gone, in time; it goes on by itself."""

    code = "timed-out"
    retryable = True

    def __init__(self, timeout_s: float, pending: Sequence[str]) -> None:
        super().__init__(f"after {timeout_s:g} s not all is done:" + "".join(f"\n  {one}" for one in pending))
        self.timeout_s = timeout_s
        self.pending = tuple(pending)
