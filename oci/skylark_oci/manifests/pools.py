"""Pools: the nodes of a tier, or one node by name, whose proxies host the same functions.

A pool is a DaemonSet. Its Service leads to its proxies, as no Service can choose pods by the labels of their nodes.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass

from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig, FunctionSection, Run, Tier
from skylark_oci.manifests.documents import Document, nodes_affinity

_LONGEST = 63 - len(f"{names.PROXY}-node-")
"""A Service's name has at most 63 characters (RFC 1035)."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of a tier but those that are pools of their own, or the node of a name; and what their proxies host."""

    name: str
    tier: Tier | None
    node: str | None
    apart: tuple[str, ...]
    """Nodes that are pools of their own."""
    functions: tuple[FunctionSection, ...]

    @property
    def service(self) -> str:
        """The name of its DaemonSet and of its Service."""
        return f"{names.PROXY}-{self.name}"

    def affinity(self) -> Document:
        """Its nodes."""
        if self.node is not None:
            return nodes_affinity([str(tier) for tier in Tier], "In", [self.node])
        return nodes_affinity([str(self.tier)], "NotIn", self.apart)


def pools_of(config: ClusterConfig) -> list[Pool]:
    """The pools of a cluster: one for each tier, and one for each node that hosts functions of its own.

    A node's own pool hosts the functions of its tier only if these are named for the node too.
    """
    hosted = [function for function in config.file.functions if function.run is Run.PROXY]
    nodes = tuple(sorted({function.node for function in hosted if function.node is not None}))
    tiers = [
        Pool(tier.lower(), tier, None, nodes, tuple(one for one in hosted if one.tier is tier)) for tier in sorted(Tier)
    ]
    called = _names_of(nodes)
    own = [Pool(called[node], None, node, (), tuple(one for one in hosted if one.node == node)) for node in nodes]
    return tiers + own


def pool_of(config: ClusterConfig, function: FunctionSection) -> Pool:
    """Return the pool of a function that a proxy hosts."""
    return next(pool for pool in pools_of(config) if function in pool.functions)


def _names_of(nodes: tuple[str, ...]) -> dict[str, str]:
    """Return the name of each node's pool.

    A Service's name has no dots and is shorter than a node's may be. Names that are too long, or that are the same
    without their dots, get a hash of the node's name.
    """
    plain = {node: node.replace(".", "-") for node in nodes}
    uses = Counter(plain.values())
    return {
        node: f"node-{name if len(name) <= _LONGEST and uses[name] == 1 else _hashed(node, name)}"
        for node, name in plain.items()
    }


def _hashed(node: str, name: str) -> str:
    digest = hashlib.sha256(node.encode()).hexdigest()[:10]
    return f"{name[: _LONGEST - len(digest) - 1].rstrip('-')}-{digest}"
