"""Chooses the node that will hold a bundle. It returns a plan and never acts.

Of the three phases that the published system names, identify (the links that are up) and compute (the shortest path
from the local node to the destination, then reversed) are in `paths`; offload, the choice on that path, is here.
"""

import math
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Any

import msgspec

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import Objectives, Policy
from skylark_proxy.paths import ShortestPaths, Waypoint
from skylark_proxy.topology import Topology

MAX_SIZE_BYTES = 2**63 - 1
"""The largest size that can be asked about: that of a signed 64-bit integer."""

_MAX_ANSWERS = 256
"""How many elections are kept for each pair of a topology and a contact interval."""

_FINITE = "a finite number of {}, at least 0"


class Verdict(StrEnum):
    """What an election says of one node."""

    ELECTED = "elected"
    NOT_NEEDED = "not-needed"
    """Within the objectives, but the policy took another node."""
    LATENCY_EXCEEDED = "latency-exceeded"
    """The migration takes longer than `max_latency_ms`."""
    BANDWIDTH_TOO_LOW = "bandwidth-too-low"
    """The narrowest link of the path is below `min_bandwidth_mbps`."""
    CONTACT_ENDS = "contact-ends"
    """A contact window on the path ends before the migration would."""


class Reason(StrEnum):
    """Why a node was elected."""

    FIRST_WITHIN_OBJECTIVES = "first-within-objectives"
    """It is the first one from the destination's end whose migration is within the objectives."""
    NONE_WITHIN_OBJECTIVES = "none-within-objectives"
    """Only the local node is left."""
    POLICY = "policy"
    """The policy does not look at the objectives."""
    DESTINATION_IS_LOCAL = "destination-is-local"
    NO_ROUTE = "no-route"
    """No links that are up lead to the destination: the local node keeps the bundle."""


class Candidate(msgspec.Struct, frozen=True):
    """A node on the path, with what migrating the bundle to it would take.

    `bandwidth_mbps` is None for the local node (there is no link), `window_ends_s` where no contact window ends.
    """

    node: str
    latency_ms: float
    bandwidth_mbps: float | None
    migration_time_ms: float
    window_ends_s: float | None
    verdict: Verdict


class Election(msgspec.Struct, frozen=True, kw_only=True):
    """Which node is to hold a bundle, and why.

    `candidates` go from the destination's end to the local node (`source`). `fallbacks` are the nodes to try, in
    order, if the elected one cannot be reached: those nearer than it that are within the objectives, the local node
    last. `breach` says which objective the elected node's migration breaks; None: none, then `objective_met`.
    """

    policy: Policy
    source: str
    destination: str
    elected: str
    reason: Reason
    size_bytes: int
    at_s: float
    epoch: int
    objectives: Objectives
    objective_met: bool
    breach: Verdict | None
    candidates: tuple[Candidate, ...]
    fallbacks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The election as plain JSON values, units in the names."""
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


@dataclass(frozen=True, slots=True)
class _Kept:
    """Paths, and the answers to what was asked over them, by all that was asked but the time."""

    paths: ShortestPaths
    answers: dict[tuple[str, int, Policy, Objectives], Election] = field(default_factory=dict)


class Elector:
    """Elects for one local node and keeps the paths that it computed, and the elections. Safe for threads."""

    def __init__(self, local: str, max_kept: int = 8) -> None:
        """Names the local node.

        Args:
            local: The node that elections start from.
            max_kept: For how many pairs of a topology and a contact interval paths are kept; the least recently used
                go first.
        """
        self.local = local
        self._max_kept = max_kept
        self._kept: OrderedDict[tuple[int, int], _Kept] = OrderedDict()
        self._lock = Lock()

    def elect(
        self,
        topology: Topology,
        destination: str,
        size_bytes: int,
        policy: Policy,
        objectives: Objectives,
        at_s: float,
        rng: random.Random,
    ) -> Election:
        """The election of `elect`, over the paths of `topology` at the time `at_s`.

        Raises:
            UnknownNode: The local node or the destination is not in the topology.
            InvalidArgument: A number is out of range.
        """
        kept, asked = self._kept_for(topology, at_s), (destination, size_bytes, policy, objectives)
        answer = kept.answers.get(asked)
        if answer is not None:
            return msgspec.structs.replace(answer, at_s=at_s)
        answer = elect(kept.paths, destination, size_bytes, policy, objectives, at_s, rng)
        if policy is not Policy.RANDOM and all(one.window_ends_s is None for one in answer.candidates):
            if len(kept.answers) >= _MAX_ANSWERS:
                kept.answers.clear()
            kept.answers[asked] = answer
        return answer

    def paths(self, topology: Topology, at_s: float) -> ShortestPaths:
        """The paths from the local node over the links of `topology` that are up at the time `at_s`.

        Raises:
            UnknownNode: The local node is not in the topology.
            InvalidArgument: `at_s` is not a finite number.
        """
        return self._kept_for(topology, at_s).paths

    def _kept_for(self, topology: Topology, at_s: float) -> _Kept:
        key = topology.epoch, topology.contact_interval(at_s)
        with self._lock:
            kept = self._kept.get(key)
            # An epoch alone does not tell topologies apart: a provider that is replaced may begin at 1 again.
            if kept is None or kept.paths.topology is not topology:
                kept = self._kept[key] = _Kept(ShortestPaths(topology, self.local, at_s))
            self._kept.move_to_end(key)
            if len(self._kept) > self._max_kept:
                self._kept.popitem(last=False)
        return kept


def elect(
    paths: ShortestPaths,
    destination: str,
    size_bytes: int,
    policy: Policy,
    objectives: Objectives,
    at_s: float,
    rng: random.Random,
) -> Election:
    """Elects the node that will hold a bundle on its way to `destination`.

    Args:
        paths: The paths from the local node at the time `at_s`.
        destination: The node where the chain's next function will run.
        size_bytes: The bundle's size.
        policy: `skylark`: the first node from the destination's end whose migration is within the objectives, else
            the local node. `random`: any node of the path, both ends included. `stateless`: the destination.
        objectives: What the migration may take; `random` and `stateless` only report it.
        at_s: When the migration begins, in seconds since the epoch.
        rng: Where `random` draws from.

    Returns:
        The plan. Where no links lead to the destination it is the local node, whatever the policy.

    Raises:
        UnknownNode: The destination is not in the topology.
        InvalidArgument: A number is out of range, or `paths` are those of another time.
    """
    _check(size_bytes, objectives)
    if not paths.hold_at(at_s):
        raise InvalidArgument("at_s", at_s, "a time at which the links of `paths` are up")
    path = paths.to(destination)
    judged = [_judge(point, size_bytes, objectives, at_s) for point in reversed(path or paths.to(paths.local))]
    chosen, reason = _offload(policy, judged, rng)
    if not path:
        reason = Reason.NO_ROUTE
    before = judged[chosen].verdict
    judged[chosen] = msgspec.structs.replace(judged[chosen], verdict=Verdict.ELECTED)
    return Election(
        policy=policy,
        source=paths.local,
        destination=destination,
        elected=judged[chosen].node,
        reason=reason,
        size_bytes=size_bytes,
        at_s=at_s,
        epoch=paths.topology.epoch,
        objectives=objectives,
        objective_met=before is Verdict.NOT_NEEDED,
        breach=None if before is Verdict.NOT_NEEDED else before,
        candidates=tuple(judged),
        fallbacks=tuple(node.node for node in judged[chosen + 1 :] if node.verdict is Verdict.NOT_NEEDED),
    )


def migration_time_ms(size_bytes: int, latency_ms: float, bandwidth_mbps: float) -> float:
    """The time to move `size_bytes` over a path: `T_mig = 2·L + 8·S / (1000·B)` ms.

    Args:
        size_bytes: S.
        latency_ms: L, the sum of the path's latencies.
        bandwidth_mbps: B, the bandwidth of the path's narrowest link; infinite for the local node.
    """
    return 2 * latency_ms + 8 * size_bytes / (1000 * bandwidth_mbps)


def parse_policy(text: str, field_name: str = "policy") -> Policy:
    """Reads a policy's name, in any case: the published system writes `Skylark`.

    Raises:
        InvalidArgument: There is no such policy; the error names `field_name` and lists the policies.
    """
    try:
        return Policy(text.lower())
    except ValueError:
        raise InvalidArgument(field_name, text, f"one of {', '.join(Policy)}") from None


def _check(size_bytes: int, objectives: Objectives) -> None:
    if not 0 <= size_bytes <= MAX_SIZE_BYTES:
        raise InvalidArgument("size_bytes", size_bytes, f"a number of bytes from 0 to {MAX_SIZE_BYTES}")
    if not 0 <= objectives.max_latency_ms < math.inf:
        raise InvalidArgument("max_latency_ms", objectives.max_latency_ms, _FINITE.format("ms"))
    if not 0 <= objectives.min_bandwidth_mbps < math.inf:
        raise InvalidArgument("min_bandwidth_mbps", objectives.min_bandwidth_mbps, _FINITE.format("Mbps"))


def _judge(point: Waypoint, size_bytes: int, objectives: Objectives, at_s: float) -> Candidate:
    time_ms = migration_time_ms(size_bytes, point.latency_ms, point.bandwidth_mbps)
    verdict = Verdict.NOT_NEEDED
    if time_ms > objectives.max_latency_ms:
        verdict = Verdict.LATENCY_EXCEEDED
    elif point.bandwidth_mbps < objectives.min_bandwidth_mbps:
        verdict = Verdict.BANDWIDTH_TOO_LOW
    elif point.window_ends_s < at_s + time_ms / 1000:
        verdict = Verdict.CONTACT_ENDS
    bandwidth_mbps = point.bandwidth_mbps if point.previous is not None else None
    window_ends_s = point.window_ends_s if point.window_ends_s != math.inf else None
    return Candidate(point.node, point.latency_ms, bandwidth_mbps, time_ms, window_ends_s, verdict)


def _offload(policy: Policy, judged: list[Candidate], rng: random.Random) -> tuple[int, Reason]:
    """The number of the chosen candidate. The last one, the local node, is within any objectives."""
    local = len(judged) - 1
    if local == 0:
        return 0, Reason.DESTINATION_IS_LOCAL
    if policy is Policy.STATELESS:
        return 0, Reason.POLICY
    if policy is Policy.RANDOM:
        return rng.randrange(len(judged)), Reason.POLICY
    first = next(number for number, candidate in enumerate(judged) if candidate.verdict is Verdict.NOT_NEEDED)
    return first, Reason.NONE_WITHIN_OBJECTIVES if first == local else Reason.FIRST_WITHIN_OBJECTIVES
