"""A component becomes one core module that does the same, or is refused with a reason; nothing else happens."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wasmtime import Engine, ExitTrap, Linker, Module, Store, WasiConfig

from flat_components import PROGRAM
from skylark_flatten.__main__ import main
from skylark_flatten.binary import CUSTOM, sections
from skylark_flatten.constants import evaluate
from skylark_flatten.errors import FlattenError
from skylark_flatten.flatten import flatten
from skylark_flatten.instructions import split
from skylark_flatten.module import Kind, read_module
from wasm_files import COMPONENT, MODULE, OTHER_WORLD, wasm_file


def exit_code(module: bytes, *arguments: str) -> int:
    """Runs a module's `_start`; it may import more of the system than it calls."""
    engine = Engine()
    store, linker, compiled = Store(engine), Linker(engine), Module(engine, module)
    wasi = WasiConfig()
    wasi.argv = ["program", *arguments]
    store.set_wasi(wasi)
    linker.define_wasi()
    linker.define_unknown_imports_as_traps(compiled)
    start = linker.instantiate(store, compiled).exports(store)["_start"]
    with pytest.raises(ExitTrap) as ended:
        start(store)  # type: ignore[operator]
    return ended.value.code


def changed(old: str, new: str) -> bytes:
    """The program with one thing changed."""
    assert old in PROGRAM
    return wasm_file(PROGRAM.replace(old, new))


def test_a_flattened_program_runs() -> None:
    """Calls, tables, addresses, data, WASI and its allocator are what they were in the component."""
    module = flatten(wasm_file(PROGRAM)).module
    assert exit_code(module, "argument") == 0
    assert exit_code(module) == 1


def test_only_the_start_and_the_memory_are_exported() -> None:
    """A runtime of commands finds what WASI preview 1 names, and has only the system to give."""
    flattened = flatten(wasm_file(PROGRAM))
    module = read_module(flattened.module)
    assert {name: kind for name, (kind, _) in module.exports.items()} == {"_start": Kind.FUNC, "memory": Kind.MEMORY}
    assert {one.module for one in module.imports} == {"wasi_snapshot_preview1"}
    assert flattened.imports == tuple(sorted(one.name for one in module.imports))
    assert {"args_get", "clock_time_get", "proc_exit"} <= set(flattened.imports)


def test_what_nothing_reaches_is_left_out() -> None:
    """A library's unused functions take no room, and addresses that nothing changes are constants."""
    module = flatten(wasm_file(PROGRAM)).module
    unused = b"\x41\xce\xc2\xf1\x05\x0b"  # i32.const 12345678, end
    assert unused in wasm_file(PROGRAM) and unused not in module
    assert len(read_module(module).globals) <= 3  # the allocator's, the layer's stack pointer, the noted allocator


def test_webassembly_2_is_enough() -> None:
    """The whole result, layer and glue included, has no newer instruction, and constants of one instruction each."""
    module = read_module(flatten(wasm_file(PROGRAM)).module)
    for start, end in module.code:
        split(module.content[start:end], start)
    constants = [one.init for one in module.globals]
    constants += [one.offset for one in module.elements if one.offset]
    constants += [one.offset for one in module.data if one.offset]
    assert len(constants) > 5
    for expression in constants:
        assert (
            evaluate(expression, lambda index: pytest.fail(f"it reads global {index}")).encode() + b"\x0b" == expression
        )


def test_the_layer_lies_after_the_component() -> None:
    """The component's first 2 pages are its own; the layer and its stack have those that follow."""
    module = read_module(flatten(wasm_file(PROGRAM)).module)
    assert module.memories[0].minimum >= 4


def test_the_same_component_gives_the_same_bytes() -> None:
    """A digest of the module is one of the component."""
    assert flatten(wasm_file(PROGRAM)).module == flatten(wasm_file(PROGRAM)).module


def test_progress_is_told() -> None:
    """Whoever waits sees what is being done."""
    steps: list[str] = []
    flatten(wasm_file(PROGRAM), steps.append)
    assert steps == ["reading the component", "adding the WASI layer", "linking", "validating"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no WebAssembly component"),
        (b"\0asm\x0d\0\x02\0", "no WebAssembly component"),
        (wasm_file(MODULE), "a core module already"),
        (wasm_file(COMPONENT), "it exports skylark:state/handler@0.1.0, not wasi:cli/run"),
        (wasm_file(OTHER_WORLD), "it exports wasi:http/incoming-handler@0.2.9, not wasi:cli/run"),
        (changed("libpython3.14.so", "libruby.so"), "not made by componentize-py"),
        (changed("libpython3.14.so", "libpython3.99.so"), "CPython 3.99; known to work flattened: 3.14"),
        (changed("libcomponentize_py_runtime.so", "libmain.so"), "not made by componentize-py"),
        (changed("wasi:clocks/monotonic-clock@0.2.0", "wasi:clocks/monotonic-clock@0.3.0"), "only WASI 0.2"),
        (changed("wasi:clocks/monotonic-clock@0.2.0", "skylark:state/bundles@0.1.0"), "it imports skylark:state"),
        (changed('"now"', '"yesterday"'), "needs wasi:clocks/monotonic-clock#yesterday"),
        (changed("(canon lift (core func $run))", "(canon lift (core func $run) async)"), "asynchronous"),
        (changed("(canon lower (func $now))", "(canon lower (func $now) async)"), "asynchronous"),
        (
            changed("(core func $now (canon lower", "(core func (canon task.return)) (core func $now (canon lower"),
            "async",
        ),
        (changed("(canon lower (func $now))", "(canon lower (func $now) string-encoding=utf16)"), "not UTF-8"),
        (changed("(func $never", "(func $begin) (start $begin) (func $never"), "start function"),
        (changed("(i32.const 8)", "(return_call $seven)"), "not WebAssembly 2.0: instruction 12"),
        (changed("(memory (export", "(memory 1) (memory (export"), "memor"),
        (changed("(i32.const 0) func $get-arguments", "(i32.const 0) func $get-arguments $get-arguments"), "shim"),
        (changed("(result i32)\n            (block", "(result i64)\n            (i64.const 0) (return) (block"), "i32"),
    ],
)
def test_what_cannot_be_flattened_is_refused(content: bytes, reason: str) -> None:
    """The reason is said, and it is never a module that traps."""
    with pytest.raises(FlattenError, match=reason):
        flatten(content)


def test_a_function_of_another_type_is_refused() -> None:
    """What the component takes a function of WASI for has to be what the layer has."""
    content = changed('"now" (func $now (result i64))', '"now" (func $now (result i32))')
    with pytest.raises(FlattenError, match="another type"):
        flatten(content)


WHOLE = max(section.end for section in sections(wasm_file(PROGRAM)) if section.id != CUSTOM)
"""Where the component's last section ends; what follows are names for people, which it can lack."""


@given(st.integers(0, WHOLE - 1))
@settings(max_examples=200, deadline=None)
def test_a_truncated_component_is_refused(size: int) -> None:
    """Wherever it ends, it says that it ends too early or what it lacks."""
    with pytest.raises(FlattenError):
        flatten(wasm_file(PROGRAM)[:size])


@given(st.lists(st.tuples(st.integers(8, len(wasm_file(PROGRAM)) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@example([(8, 0)])
@settings(max_examples=1000, deadline=None)
def test_a_damaged_component_is_refused_or_stays_valid(damage: list[tuple[int, int]]) -> None:
    """No byte of it leads to anything but a module that was validated, or an error that says what is wrong."""
    content = bytearray(wasm_file(PROGRAM))
    for offset, value in damage:
        content[offset] = value
    with contextlib.suppress(FlattenError):
        Module.validate(Engine(), flatten(bytes(content)).module)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused(content: bytes) -> None:
    """What only begins like a component is none."""
    with pytest.raises(FlattenError):
        flatten(b"\0asm\x0d\0\x01\0" + content)


def test_the_command_writes_the_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it wrote; a file that is none is named with the reason, and nothing is written."""
    component = tmp_path / "program.wasm"
    component.write_bytes(wasm_file(PROGRAM))
    assert main([str(component)]) == 0
    assert exit_code((tmp_path / "program.core.wasm").read_bytes(), "argument") == 0
    assert "program.core.wasm" in capsys.readouterr().out
    component.write_bytes(b"text")
    assert main([str(component), "-o", str(tmp_path / "none.wasm")]) == 1
    assert "program.wasm: no WebAssembly component" in capsys.readouterr().err
    assert not (tmp_path / "none.wasm").exists()
