"""What a WebAssembly file is and what it imports and exports is read right, and damage is named."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wasmtime import Engine
from wasmtime.component import Component

from skylark_oci.errors import InvalidWasm
from skylark_oci.wasm import Kind, custom_section, read_wasm, without_custom_section
from wasm_files import COMPONENT, MODULE, OTHER_WORLD, wasm_file

EVERY_SORT = """
(component
    (import "wasi:io/poll@0.2.9" (instance $poll (export "pollable" (type (sub resource)))))
    (alias export $poll "pollable" (type $pollable))
    (import "resource" (type $resource (sub resource)))
    (import "same" (type (eq $resource)))
    (import "wait" (func (param "on" (borrow $pollable)) (result (list u8))))
    (import "core" (core module (export "run" (func))))
    (component $nested (import "nested-import" (func $f)) (export "nested-export" (func $f)))
    (core module $module (import "host" "f" (func)))
    (core module $code (func (export "go")))
    (core instance $ran (instantiate $code))
    (func $go (canon lift (core func $ran "go")))
    (instance $own (export "go" (func $go)))
    (export "function" (func $go))
    (export "typed" (func $go) (func))
    (export "module" (core module $module))
    (export "instance" (instance $own))
    (export "type" (type $resource)))
"""
"""Each sort of import and export once, with others in nested components and modules, which are not its own."""

NAMES = "\0asm\x0d\0\x01\0".encode("latin-1")


@pytest.mark.parametrize("text", [EVERY_SORT, COMPONENT, OTHER_WORLD, "(component)"])
def test_a_component_has_the_interface_that_wasmtime_sees(text: str) -> None:
    """Imports and exports of every sort are those that a full compiler finds; nested ones are left out."""
    content, engine = wasm_file(text), Engine()
    expected = Component(engine, content).type
    wasm = read_wasm(content)
    assert wasm.kind is Kind.COMPONENT
    assert set(wasm.imports) == set(expected.imports(engine)) and len(set(wasm.imports)) == len(wasm.imports)
    assert set(wasm.exports) == set(expected.exports(engine)) and len(set(wasm.exports)) == len(wasm.exports)


def test_names_keep_their_order() -> None:
    """The order is that of the file, which decides the digest of a configuration."""
    wasm = read_wasm(wasm_file(EVERY_SORT))
    assert wasm.imports == ("wasi:io/poll@0.2.9", "resource", "same", "wait", "core")
    assert wasm.exports == ("function", "typed", "module", "instance", "type")


def test_a_component_that_imports_a_component() -> None:
    """Its name is an import and an export, those within its type are not; wasmtime cannot run one yet."""
    part = '(import "part" (component $part (import "inner-import" (func)) (export "inner-export" (func))))'
    wasm = read_wasm(wasm_file(f'(component {part} (export "again" (component $part)))'))
    assert (wasm.imports, wasm.exports) == (("part",), ("again",))


def test_a_module_is_a_module() -> None:
    """A core module is told from a component; what it exports to a host of its own kind is no interface."""
    wasm = read_wasm(wasm_file(MODULE))
    assert (wasm.kind, wasm.imports, wasm.exports) == (Kind.MODULE, (), ())


def test_names_with_attributes() -> None:
    """The newer form of a name, with attributes after it, is read as well (component model, `nameattributes`)."""
    name = b"\x02\x01a" + b"\x02" + b"\x00\x03x:y" + b"\x01\x02.1"
    content = NAMES + b"\x0a" + bytes([len(name) + 3]) + b"\x01" + name + b"\x05\x00"
    assert read_wasm(content).imports == ("a",)


@pytest.mark.parametrize("text", [COMPONENT, MODULE])
@given(content=st.binary(max_size=300), name=st.text(max_size=200))
def test_a_custom_section_can_be_appended(text: str, content: bytes, name: str) -> None:
    """What is appended is read again, and the file is as good to wasmtime as it was."""
    extended = wasm_file(text) + custom_section(name, content)
    assert read_wasm(extended).custom[name] == content
    assert read_wasm(extended).exports == read_wasm(wasm_file(text)).exports


def test_a_runtime_ignores_a_custom_section() -> None:
    """A component with a further section compiles, with the same interface."""
    engine = Engine()
    component = Component(engine, wasm_file(COMPONENT) + custom_section("x", b"anything"))
    assert list(component.type.exports(engine)) == ["skylark:state/handler@0.1.0"]


@pytest.mark.parametrize(
    ("content", "reason", "offset"),
    [
        (b"", "no WebAssembly file", 0),
        (b"#!/usr/bin/env python\n", "no WebAssembly file", 0),
        (b"\0asm", "its version is none", 4),
        (b"\0asm\x01\0", "its version is 01 00", 4),
        (b"\0asm\x02\0\0\0", "neither a component nor a core module of version 1: its version is 02 00 00 00", 4),
        (b"\0asm\x0c\0\x01\0", "its version is 0c 00 01 00", 4),
        (NAMES + b"\x0d\x00", "no section has the id 13", 8),
        (b"\0asm\x01\0\0\0\x0e\x00", "no section has the id 14", 8),
        (NAMES + b"\x07", "a section ends too early", 9),
        (NAMES + b"\x07\x05ab", "truncated: 3 bytes of section 7 are missing", 8),
        (NAMES + b"\x07\xff\xff\xff\xff\xff\x01", "more than 32 bits", 14),
        (NAMES + b"\x07\xff\xff\xff\xff\x7f", "more than 32 bits", 14),
        (NAMES + b"\x0a\x02\x01\x00", "a section ends too early", 12),
        (NAMES + b"\x0a\x04\x01\x00\x09a", "a name goes past the end of its section", 13),
        (NAMES + b"\x0a\x06\x01\x00\x01\xff\x05\x00", "a name is not UTF-8", 13),
        (NAMES + b"\x0a\x06\x01\x03\x01a\x05\x00", "a name has the unknown form 3", 11),
        (NAMES + b"\x0a\x06\x01\x00\x01a\x06\x00", "a type has the unknown form 6", 14),
        (NAMES + b"\x0a\x07\x01\x00\x01a\x00\x10\x00", "only a module", 16),
        (NAMES + b"\x0a\x07\x01\x00\x01a\x05\x00\x00", "bytes are left at the end of a section", 16),
        (NAMES + b"\x0b\x07\x01\x00\x01a\x06\x00\x00", "no sort has the number 6", 15),
        (NAMES + b"\x0b\x07\x01\x00\x01a\x05\x00\x02", "an optional type has the unknown form 2", 16),
        (NAMES + b"\x0a\x06\xff\xff\xff\xff\x0f\x00", "a vector goes past the end of its section", 15),
        (NAMES + b"\x00\x01\x05", "a name goes past the end of its section", 11),
    ],
)
def test_what_is_wrong_is_named(content: bytes, reason: str, offset: int) -> None:
    """The error has the file's name, the reason and the byte."""
    with pytest.raises(InvalidWasm) as raised:
        read_wasm(content, "app.wasm")
    assert raised.value.message.startswith("app.wasm: ")
    assert reason in raised.value.message
    assert raised.value.offset == offset


@given(data=st.data())
def test_a_damaged_component_is_read_or_refused(data: st.DataObject) -> None:
    """Cut anywhere and with any byte changed, a file is refused with an error of ours, or is still a whole file."""
    content = bytearray(wasm_file(EVERY_SORT))
    del content[data.draw(st.integers(0, len(content))) :]
    for position in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=4)):
        if content:
            content[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidWasm):
        wasm = read_wasm(bytes(content))
        assert all(isinstance(name, str) for name in (*wasm.imports, *wasm.exports))


@example(b"\xff" * 30)
@given(st.binary(max_size=200))
def test_anything_after_the_preamble_is_read_or_refused(rest: bytes) -> None:
    """No bytes at all make it crash, or take long."""
    for preamble in (NAMES, b"\0asm\x01\0\0\0", b""):
        with contextlib.suppress(InvalidWasm):
            read_wasm(preamble + rest)


@pytest.mark.parametrize("text", [EVERY_SORT, MODULE])
def test_a_custom_section_is_taken_out(text: str) -> None:
    """What is left has all other bytes, wherever the section was and however often; nothing is lost without one."""
    content = wasm_file(text)
    one, other = custom_section("one", b"1"), custom_section("other", b"\0asm")
    head, rest = content[:8], content[8:]
    assert without_custom_section(head + one + rest + other + one, "one") == content + other
    assert without_custom_section(content + other, "one") == content + other
    assert without_custom_section(content, "") == content


@pytest.mark.parametrize("content", [b"", b"\0asm", b"text that is none", wasm_file(MODULE)[:-1]])
def test_nothing_is_taken_out_of_what_is_damaged(content: bytes) -> None:
    """It is an error that names the file, never a shorter file."""
    with pytest.raises(InvalidWasm, match=r"^app\.wasm: "):
        without_custom_section(content, "one", "app.wasm")
