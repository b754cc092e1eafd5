"""Pools: the nodes of a tier, or one node by name, whose proxies host the same functions.

A pool is a DaemonSet. Its Service leads to its proxies, as no Service can choose pods by the labels of their nodes.
"""

from dataclasses import dataclass

from skylark_oci.manifests import names
from skylark_oci.manifests.config import ClusterConfig, FunctionSection, Run, Tier
from skylark_oci.manifests.documents import TIERED, Document, node_affinity


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
            return node_affinity(TIERED, (names.HOSTNAME_LABEL, "In", [self.node]))
        tier = (names.TIER_LABEL, "In", [str(self.tier)])
        apart = [(names.HOSTNAME_LABEL, "NotIn", self.apart)] if self.apart else []
        return node_affinity(tier, *apart)


def pools_of(config: ClusterConfig) -> list[Pool]:
    """The pools of a cluster: one for each tier, and one for each node that hosts functions of its own.

    A node's own pool hosts the functions of its tier only if these are named for the node too.
    """
    hosted = [function for function in config.file.functions if function.run is Run.PROXY]
    nodes = tuple(sorted({function.node for function in hosted if function.node is not None}))
    tiers = [
        Pool(tier.lower(), tier, None, nodes, tuple(one for one in hosted if one.tier is tier)) for tier in sorted(Tier)
    ]
    own = [Pool(pool_of_node(node), None, node, (), tuple(one for one in hosted if one.node == node)) for node in nodes]
    return tiers + own


def pool_of(function: FunctionSection) -> str:
    """The name of the pool of a function that a proxy hosts."""
    return function.tier.lower() if function.tier is not None else pool_of_node(str(function.node))


def pool_of_node(node: str) -> str:
    """The name of the pool of a node; a name of a node may have dots, one of a Service may not."""
    return f"node-{node.replace('.', '-')}"
