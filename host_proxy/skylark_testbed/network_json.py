"""What the testbed tells the process of its network: the file `network.json`, and what is to become of a link."""

import msgspec

from skylark_proxy.nodeinfo.messages import Bandwidth, Latency, Name, SimSettingsJson
from skylark_testbed.description import ProviderName

FILE = "network.json"


class NetworkJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The network.

    Attributes:
        topology: The name of the file, in the same folder, with the topology or the rotation.
        interval_s: None: nothing changes by time.
        drawing: What links are drawn from.
    """

    provider: ProviderName
    topology: str
    interval_s: float | None
    drawing: SimSettingsJson
    max_latency_ms: float
    min_bandwidth_mbps: float
    jitter: float
    seed: int


class LinkBody(msgspec.Struct, forbid_unknown_fields=True):
    """A link, and how slow it is to be."""

    between: tuple[Name, Name]
    latency_ms: Latency | None = None
    bandwidth_mbps: Bandwidth | None = None
