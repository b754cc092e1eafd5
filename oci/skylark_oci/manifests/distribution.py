"""Where distributions of Kubernetes differ, as far as it matters here.

Sources: MicroK8s, "Configuring services" (Calico's pool 10.1.0.0/16, `args/containerd-template.toml`); K3s,
"Networking options" (10.42.0.0/16) and its packaged `runtimes.yaml` (RuntimeClasses that K3s makes by itself for the
shims that it finds); kind, "Networking" (10.244.0.0/16), which is kubeadm's usual choice with flannel too.
"""

from dataclasses import dataclass

from skylark_oci.manifests.config import Distribution


@dataclass(frozen=True, slots=True)
class Traits:
    """What a distribution has of its own."""

    pod_network: str
    """The pods' network where nobody has chosen another one."""
    redis_data: str
    """A folder that outlives upgrades of the distribution and that its hostPath may reach."""
    brings_runtime_classes: bool = False
    """Whether the RuntimeClasses `wasmtime` and `wasmedge` are there already, and are not ours to delete."""


TRAITS = {
    Distribution.PLAIN: Traits("10.244.0.0/16", "/var/lib/skylark/redis"),
    # a strictly confined MicroK8s may write nowhere else
    Distribution.MICROK8S: Traits("10.1.0.0/16", "/var/snap/microk8s/common/skylark/redis"),
    Distribution.K3S: Traits("10.42.0.0/16", "/var/lib/rancher/skylark/redis", brings_runtime_classes=True),
    # inside of the node's container: it ends with the cluster unless an extraMount leads here
    Distribution.KIND: Traits("10.244.0.0/16", "/var/local/skylark/redis"),
}
