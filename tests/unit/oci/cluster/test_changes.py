"""What has changed, and what is left alone."""

from typing import Any

from skylark_oci.cluster.changes import Action, compared, differing, is_kept

LABELS = {"app.kubernetes.io/managed-by": "skylark"}


def of_kind(kind: str, labels: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "labels": labels}, **body}


def test_fields_that_differ() -> None:
    """Paths lead to the values; a list of another length differs as a whole."""
    before = {"a": {"b": [{"c": 1}, {"c": 2}], "d": [1]}, "e": 1}
    after = {"a": {"b": [{"c": 1}, {"c": 3}], "d": [1, 2]}, "f": None, "g": 0}
    assert differing(before, after) == ["a.b[1].c", "a.d", "e", "g"]
    assert differing(before, before) == []


def test_what_the_server_adds_is_no_change() -> None:
    """Versions, managers and the status change by themselves."""
    before = of_kind("Service", spec={"a": 1}, status={"x": 1})
    after = of_kind("Service", spec={"a": 1}, status={"x": 2})
    after["metadata"] |= {"resourceVersion": "2", "managedFields": [1], "generation": 2}
    assert compared(before, before, after).action is Action.UNCHANGED
    changed = compared(before, before, of_kind("Service", spec={"a": 2}))
    assert (changed.action, changed.fields) == (Action.CHANGED, ("spec.a",))
    assert compared(before, None, after).action is Action.CREATED
    after["metadata"]["annotations"] = {"deprecated.daemonset.template.generation": "2"}
    assert compared(before, before, after).action is Action.UNCHANGED
    after["metadata"]["annotations"]["mine"] = "1"
    assert compared(before, before, after).fields == ("metadata.annotations.mine",)


def test_what_is_kept() -> None:
    """Secrets that are there, and namespaces and classes of others; nothing that is not there."""
    for kind, live, kept in (
        ("Secret", of_kind("Secret", LABELS), True),
        ("Secret", None, False),
        ("Namespace", of_kind("Namespace"), True),
        ("Namespace", of_kind("Namespace", LABELS), False),
        ("RuntimeClass", of_kind("RuntimeClass", {}), True),
        ("Service", of_kind("Service"), False),
    ):
        assert is_kept(of_kind(kind), live) is kept, (kind, live)
