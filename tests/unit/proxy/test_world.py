"""A node says of a file that it cannot host what it is, and how to build one that it can."""

import pytest

from skylark_oci.record import BuildRecord, with_record
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime.world import check_world
from wasm_files import COMPONENT, MODULE, wasm_file

RECORD = BuildRecord("skylark:state/command@0.1.0", {}, [], [], "wasmedge")


def refused(content: bytes) -> str:
    with pytest.raises(InvalidArgument) as caught:
        check_world(content, "app.wasm")
    return caught.value.message


def test_a_module_for_wasmedge() -> None:
    """It is named as such, with the command that builds a hosted component."""
    message = refused(with_record(wasm_file(MODULE), RECORD, "app"))
    assert "it is a core module, built for the target wasmedge" in message
    assert "skylark build SOURCE --target hosted" in message


def test_any_other_module() -> None:
    """Of one that does not say what it was built for no more is said."""
    message = refused(wasm_file(MODULE))
    assert "it is a core module)" in message


def test_a_component_of_the_world() -> None:
    """One that exports what the host calls passes."""
    check_world(wasm_file(COMPONENT), "app.wasm")
