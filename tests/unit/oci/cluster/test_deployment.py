"""What a deployment makes of a cluster that does not know all kinds of objects."""

from pathlib import Path
from typing import Any, cast

import pytest

from clusters import FULL, SECRETS, cluster_of
from skylark_oci.cluster import Cluster, Deployment
from skylark_oci.cluster.errors import MissingKinds
from skylark_oci.manifests import render


class Knowing:
    """A cluster that knows all kinds but those of some APIs."""

    def __init__(self, *unknown: str) -> None:
        self.unknown = unknown

    def knows(self, api: str, kind: str) -> bool:
        return not api.startswith(self.unknown)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"asked for more than what it knows: {name}")


@pytest.mark.parametrize(
    ("unknown", "advice"),
    [
        (("serving.",), "install Knative Serving ("),
        (("eventing.",), "install Knative Eventing ("),
        (("sources.", "serving."), "install Knative Serving and Eventing ("),
        (("eventing.", "sources."), "install Knative Eventing ("),
        (("operator.", "serving."), "install the Knative Operator, or leave out cluster.knative_operator"),
        (("apps/", "serving."), "a Kubernetes of version 1.26 or newer is needed"),
    ],
)
def test_what_to_install(unknown: tuple[str, ...], advice: str, tmp_path: Path) -> None:
    """The error names the kinds and what would bring them, before anything is read or written."""
    text = FULL.replace("  namespace:", "  knative_operator: true\n  namespace:")
    parts = render(cluster_of(text, tmp_path), SECRETS)
    with pytest.raises(MissingKinds) as caught:
        Deployment(cast(Cluster, Knowing(*unknown)), parts).apply()
    assert advice in caught.value.message
    assert all(any(prefix in kind for prefix in unknown) for kind in caught.value.kinds)
