"""Whether a component is of the world that this host runs, found out before it is compiled."""

from skylark_oci.errors import InvalidWasm
from skylark_oci.record import read_record
from skylark_oci.wasm import Kind, Wasm, read_wasm
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.runtime.interface import HANDLER, WORLD
from skylark_proxy.target import Target

EXPORTS = (HANDLER,)
"""What a component of the world exports."""


def check_world(content: bytes, name: str) -> None:
    """Checks that a component exports what this host calls.

    Args:
        name: What errors call it.

    Raises:
        InvalidArgument: It is no component, or one of another world; the error names the exports that it lacks.
    """
    try:
        wasm = read_wasm(content, name)
    except InvalidWasm as error:
        reason = f"{error.reason}, at byte {error.offset}"
        raise InvalidArgument("component", name, f"a WebAssembly component ({reason})") from error
    if wasm.kind is Kind.MODULE:
        raise InvalidArgument("component", name, f"a WebAssembly component ({_module(wasm, name)})")
    missing = [export for export in EXPORTS if export not in wasm.exports]
    if missing:
        exported = ", ".join(wasm.exports) or "nothing"
        expected = f"a component of the world {WORLD}; it lacks the export {', '.join(missing)}, and has {exported}"
        built_for = next((target for target in Target if target.component.export in wasm.exports), None)
        if built_for is not None:
            expected += f": it was built for the target {built_for}; skylark build SOURCE --target {Target.HOSTED}"
        raise InvalidArgument("component", name, expected)


def _module(wasm: Wasm, name: str) -> str:
    """What a core module is, as far as it says itself."""
    try:
        record = read_record(wasm, name)
    except InvalidWasm:
        record = None
    if record is None or record.target is None:
        return "it is a core module"
    how = f"skylark build SOURCE --target {Target.HOSTED}"
    return f"it is a core module, built for the target {record.target}; for a node: {how}"
