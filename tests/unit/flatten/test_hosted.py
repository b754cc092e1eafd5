"""A hosted component becomes a module whose instances can be reset, or is refused with a reason."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import Engine, Func, Global, Instance, Linker, Memory, Module, Store, WasiConfig

from flat_components import HOSTED, PROGRAM
from skylark_flatten.errors import FlattenError
from skylark_flatten.flatten import Flattened, flatten
from skylark_flatten.link import SOFT_SIZE
from skylark_flatten.module import Kind, read_module
from skylark_flatten.plan import World
from wasm_files import COMPONENT, wasm_file


def flat(text: str = HOSTED) -> Flattened:
    return flatten(wasm_file(text), world=World.HOSTED)


def changed(old: str, new: str) -> str:
    """The component with one thing changed."""
    assert old in HOSTED
    return HOSTED.replace(old, new)


class Running:
    """An instance of the flattened component. `deleted` are the arguments of its calls of the host."""

    def __init__(self) -> None:
        engine = Engine()
        self.store, module, linker = Store(engine), Module(engine, flat().module), Linker(engine)
        self.deleted: list[tuple[int, ...]] = []
        self.store.set_wasi(WasiConfig())
        linker.define_wasi()
        for one in module.imports:
            if one.module.startswith("skylark:"):
                type_ = one.type
                linker.define_func(one.module, one.name or "", type_, lambda *given: self.deleted.append(given))  # type: ignore[arg-type]
        linker.define_unknown_imports_as_traps(module)
        self.instance: Instance = linker.instantiate(self.store, module)

    def call(self, name: str, *arguments: int) -> int | None:
        function = self.instance.exports(self.store)[name]
        assert isinstance(function, Func)
        result: int | None = function(self.store, *arguments)
        return result

    @property
    def memory(self) -> Memory:
        memory = self.instance.exports(self.store)["memory"]
        assert isinstance(memory, Memory)
        return memory

    def globals(self) -> dict[str, Global]:
        exports = self.instance.exports(self.store)
        return {name: one for name, one in exports.items() if isinstance(one, Global)}


def test_what_a_host_needs_is_exported() -> None:
    """The handler's core functions with their post-returns, the allocator, the clock, and all that can change."""
    module = read_module(flat().module)
    exported = {name: kind for name, (kind, _) in module.exports.items()}
    functions = {name for name, kind in exported.items() if kind is Kind.FUNC}
    assert functions == {"functions", "functions:post", "handle", "handle:post", "realloc", "free", "now"}
    assert exported["memory"] is Kind.MEMORY
    numbers = {index for name, (kind, index) in module.exports.items() if kind is Kind.GLOBAL}
    assert numbers == set(range(len(module.globals)))
    assert all(one.mutable for one in module.globals)
    assert SOFT_SIZE in exported


def test_the_hosts_own_functions_are_imported_as_they_are() -> None:
    """Their types are those of the canonical ABI; all else is preview 1."""
    module = read_module(flat().module)
    own = [one for one in module.imports if one.module != "wasi_snapshot_preview1"]
    assert [(one.module, one.name) for one in own] == [("skylark:state/bundles@0.1.0", "delete")]
    assert isinstance(own[0].type, int)
    assert module.types[own[0].type] == bytes([0x60, 3, 0x7F, 0x7F, 0x7F, 0])
    assert "args_get" in flat().imports and "delete" not in flat().imports


def test_growth_is_a_global() -> None:
    """`memory.grow` and `memory.size` are of the soft size, up to what the memory really has; the memory stays."""
    running = Running()
    soft = running.globals()[SOFT_SIZE]
    begin = soft.value(running.store)
    assert begin == running.memory.size(running.store) == running.call("functions")
    assert running.call("handle", 1, 0) == -1
    running.memory.grow(running.store, 10)
    assert running.call("functions") == begin
    assert running.call("handle", 4, 0) == begin
    assert running.call("handle", 0, 0) == running.call("functions") == begin + 4 == soft.value(running.store)
    assert running.call("handle", 7, 0) == -1
    assert running.call("handle", -1, 0) == -1
    assert running.call("handle", 6, 0) == begin + 4
    assert running.memory.size(running.store) == begin + 10
    soft.set_value(running.store, begin)
    assert running.call("functions") == begin


def test_calls_reach_the_host() -> None:
    """The arguments are those of the guest, and the result's address comes last."""
    running = Running()
    running.call("handle", 0, 99)
    assert running.deleted == [(0, 99, 4096)]


def test_all_that_changes_is_exported() -> None:
    """A global that the guest sets is among the exported ones, with its value."""
    running = Running()
    running.call("functions:post", 1234)
    assert 1234 in [one.value(running.store) for one in running.globals().values()]


def test_the_same_component_gives_the_same_bytes() -> None:
    """So a compiled module can be kept by the component's digest."""
    assert flat().module == flat().module


FUNCTION = '(func (export "handle-post") (param i32)'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (changed(FUNCTION, FUNCTION + "(table.set $table (i32.const 0) (ref.null func))"), "table.set"),
        (changed(FUNCTION, FUNCTION + "(drop (table.grow $table (ref.null func) (i32.const 1)))"), "table.grow"),
        (
            changed(FUNCTION, FUNCTION + "(table.fill $table (i32.const 0) (ref.null func) (i32.const 1))"),
            "table.fill",
        ),
        (
            changed(FUNCTION, FUNCTION + "(table.copy $table $table (i32.const 0) (i32.const 0) (i32.const 1))"),
            "table.copy",
        ),
        (
            changed(
                FUNCTION, '(data $d "abc")' + FUNCTION + "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))"
            ),
            "memory.init",
        ),
        (changed(FUNCTION, '(data $d "abc")' + FUNCTION + "(data.drop $d)"), "data.drop"),
        (changed(FUNCTION, "(elem $e func $size)" + FUNCTION + "(elem.drop $e)"), "elem.drop"),
        (
            changed(
                FUNCTION,
                "(elem $e func $size)" + FUNCTION + "(table.init $table $e (i32.const 0) (i32.const 0) (i32.const 1))",
            ),
            "table.init",
        ),
        (changed(FUNCTION, '(data "abc")' + FUNCTION), "a passive data segment"),
        (changed(FUNCTION, "(elem func $size)" + FUNCTION), "a passive element segment"),
        (
            changed(
                FUNCTION, "(global $g (mut funcref) (ref.null func))" + FUNCTION + "(global.set $g (ref.null func))"
            ),
            "a mutable global that is no number",
        ),
        (changed('(func (export "free")', '(func (export "release")'), "no function `free`"),
        (
            changed('(func (export "free") (param i32)', '(func (export "free") (param i64 i32)').replace(
                "(global.set $free (local.get 0))", "(global.set $free (local.get 1))"
            ),
            "no function `free`",
        ),
        (changed('(export "functions" (func $functions)) ', ""), "its handler has the functions handle"),
        (changed("skylark:state/handler@0.1.0", "skylark:state/handler@0.2.0"), "not skylark:state/handler@0.1.0"),
        (
            changed("skylark:state/bundles@0.1.0", "skylark:state/bundles@0.2.0"),
            "it imports skylark:state/bundles@0.2.0",
        ),
        (changed("skylark:state/bundles@0.1.0", "other:state/bundles@0.1.0"), "it imports other:state/bundles@0.1.0"),
        (changed("libpython3.14.so", "libruby.so"), "not made by componentize-py"),
        (PROGRAM, "it exports wasi:cli/run@0.2.9, not skylark:state/handler@0.1.0"),
        (COMPONENT, "its handler has the functions none"),
    ],
)
def test_what_cannot_be_reset_or_run_is_refused(text: str, reason: str) -> None:
    """The reason names what a reset would not undo, or what the host would not find."""
    with pytest.raises(FlattenError, match=reason):
        flat(text)


def test_a_table_that_is_only_read_is_no_obstacle() -> None:
    """Reading a table or naming a function changes nothing."""
    reading = FUNCTION + "(drop (table.get $table (i32.const 0))) (drop (table.size $table)) (drop (ref.func $size))"
    assert flat(changed(FUNCTION, reading)).module


def test_a_hosted_component_is_no_command() -> None:
    """A runtime of commands is not given what it has no host for."""
    with pytest.raises(FlattenError, match="not wasi:cli/run"):
        flatten(wasm_file(HOSTED))


@given(st.lists(st.tuples(st.integers(8, len(wasm_file(HOSTED)) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=500, deadline=None)
def test_a_damaged_component_is_refused_or_stays_valid(damage: list[tuple[int, int]]) -> None:
    """No byte of it leads to anything but a module that was validated, or an error that says what is wrong."""
    content = bytearray(wasm_file(HOSTED))
    for offset, value in damage:
        content[offset] = value
    with contextlib.suppress(FlattenError):
        Module.validate(Engine(), flatten(bytes(content), world=World.HOSTED).module)
