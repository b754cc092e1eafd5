"""The WASI layer that comes built has all that a command may import, and asks nothing of a linker but a place."""

from pathlib import Path

from skylark_flatten.attach import START, built_layer
from skylark_flatten.binary import sections
from skylark_flatten.module import Kind
from skylark_flatten.plan import SYSTEM
from wit_signatures import Core, core_functions

WIT = Path(__file__).parents[3] / "wit" / "deps"
PACKAGES = ("cli", "clocks", "filesystem", "io", "random", "sockets")
VALUE_TYPES = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64"}
START_SECTION = 8


def core_type(encoded: bytes) -> Core:
    """An encoded function type (core specification 5.3.6); none here has 128 parameters."""
    params = encoded[2 : 2 + encoded[1]]
    results = encoded[3 + len(params) :]
    return tuple(VALUE_TYPES[one] for one in params), tuple(VALUE_TYPES[one] for one in results)


def test_exports_are_the_functions_of_the_world() -> None:
    """Every function that `wasi:cli/command` imports is there by its name, with its lowered type; no other is."""
    module = built_layer().module
    exported = {name: core_type(module.function_type(index)) for name, (kind, index) in module.exports.items()}
    wanted = core_functions([WIT / package for package in PACKAGES], without={"wasi:cli/run"})
    assert exported.pop(START) == ((), ())
    assert exported == wanted


def test_nothing_has_to_run_or_be_relocated_first() -> None:
    """It takes memory, a stack and two functions of the component: no start function, no function pointers."""
    layer = built_layer()
    imported = {(one.module, one.name) for one in layer.module.imports if one.module != SYSTEM}
    assert imported == {
        ("component", "realloc"),
        ("component", "run"),
        ("env", "__indirect_function_table"),
        ("env", "__memory_base"),
        ("env", "__stack_pointer"),
        ("env", "__table_base"),
        ("env", "memory"),
    }
    assert START_SECTION not in {section.id for section in sections(layer.module.content)}
    assert {kind for kind, _ in layer.module.exports.values()} == {Kind.FUNC}
    assert layer.sizes.table == 0
