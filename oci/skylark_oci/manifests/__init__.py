"""What a cluster needs, from one configuration file."""

from skylark_oci.manifests.config import ClusterConfig
from skylark_oci.manifests.errors import InvalidConfig, ManifestError
from skylark_oci.manifests.foundation import Secrets
from skylark_oci.manifests.read import parse_config, read_config
from skylark_oci.manifests.render import Part, render
from skylark_oci.manifests.write import write_manifests

__all__ = [
    "ClusterConfig",
    "InvalidConfig",
    "ManifestError",
    "Part",
    "Secrets",
    "parse_config",
    "read_config",
    "render",
    "write_manifests",
]
