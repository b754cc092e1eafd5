"""The tests' own server-side apply, by the cases of Kubernetes' documentation."""

import pytest

from field_ownership import Conflict, Owned

HEAD = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def test_fields_of_two_managers() -> None:
    """Each manager owns what it has applied; what it no longer applies is gone, unless another one applies it too."""
    one = Owned(HEAD).applied("one", HEAD | {"data": {"a": "1", "b": "1"}}, force=False)
    two = one.applied("two", HEAD | {"data": {"b": "1", "c": "2"}}, force=False)
    after = two.applied("one", HEAD | {"data": {}}, force=False)
    assert after.document["data"] == {"b": "1", "c": "2"}


def test_a_conflict() -> None:
    """Another value for another's field is refused, or takes the field over."""
    one = Owned(HEAD).applied("one", HEAD | {"data": {"a": "1"}}, force=False)
    with pytest.raises(Conflict, match=r'conflict with "one": \.data\.a'):
        one.applied("two", HEAD | {"data": {"a": "2"}}, force=False)
    taken = one.applied("two", HEAD | {"data": {"a": "2"}}, force=True)
    assert taken.document["data"] == {"a": "2"}
    assert taken.applied("one", HEAD, force=False).document["data"] == {"a": "2"}


def test_lists_with_a_key() -> None:
    """Containers are merged by their names, and one that is no longer applied is gone; other lists are whole."""
    first = {"spec": {"containers": [{"name": "x", "args": ["1"]}, {"name": "y", "args": ["2"]}]}}
    second = {"spec": {"containers": [{"name": "y", "args": ["2", "3"]}]}}
    owned = Owned(HEAD).applied("one", HEAD | first, force=False).applied("one", HEAD | second, force=False)
    assert owned.document["spec"]["containers"] == [{"name": "y", "args": ["2", "3"]}]
