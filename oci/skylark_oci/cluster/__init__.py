"""A cluster's API: applying what `skylark_oci.manifests` renders, waiting for it, and removing it again."""

from skylark_oci.cluster.api import Cluster, connect
from skylark_oci.cluster.changes import Action, Change
from skylark_oci.cluster.deployment import Deployment
from skylark_oci.cluster.secrets import secrets_of

__all__ = ["Action", "Change", "Cluster", "Deployment", "connect", "secrets_of"]
