"""Keeps Python out of the way of files: a small module decides by the descriptor who answers.

wasmtime's own functions of preview 1 read the memory that the calling instance exports, so they cannot be called from
Python. The module `front`, which the guest imports from, calls Python for the standard streams and for sockets, and for
all others `back` by a table; `back` is made once the guest's memory is there, and calls wasmtime's functions.
"""

from collections.abc import Mapping

from wasmedge_host.abi import FIRST_SOCKET

WASI = "wasi_snapshot_preview1"
SHARED: Mapping[str, str] = {
    "fd_close": "i32",
    "fd_read": "i32 i32 i32 i32",
    "fd_write": "i32 i32 i32 i32",
    "fd_fdstat_get": "i32 i32",
    "fd_fdstat_set_flags": "i32 i32",
    "fd_filestat_get": "i32 i32",
    "fd_renumber": "i32 i32",
}
"""The functions that know files and sockets, by their parameters. The first is the descriptor, each result an errno."""


def front() -> str:
    """The module that the guest imports from, in the text format."""
    imports, functions = [], []
    for index, (name, parameters) in enumerate(SHARED.items()):
        imports.append(f'(import "python" "{name}" (func $py_{name} {_type(parameters)}))')
        given = _given(parameters)
        functions.append(f"""
            (func (export "{name}") {_type(parameters)}
                (if (result i32)
                    (i32.or (i32.lt_u (local.get 0) (i32.const 3))
                            (i32.ge_u (local.get 0) (i32.const {FIRST_SOCKET})))
                    (then (call $py_{name} {given}))
                    (else (call_indirect $files {_type(parameters)} {given} (i32.const {index})))))""")
    table = f'(table $files (export "files") {len(SHARED)} funcref)'
    return f"(module {' '.join(imports)} {table} {' '.join(functions)})"


def back() -> str:
    """The module that calls wasmtime's functions, in the text format. The calls are its own, so its memory is read."""
    imports, functions = [], []
    for name, parameters in SHARED.items():
        imports.append(f'(import "{WASI}" "{name}" (func $wasi_{name} {_type(parameters)}))')
        functions.append(f"(func ${name} {_type(parameters)} (call $wasi_{name} {_given(parameters)}))")
    memory = '(import "guest" "memory" (memory 0)) (export "memory" (memory 0))'
    table = f'(import "front" "files" (table {len(SHARED)} funcref))'
    names = " ".join(f"${name}" for name in SHARED)
    return f"(module {' '.join(imports)} {memory} {table} {' '.join(functions)} (elem (i32.const 0) func {names}))"


def _type(parameters: str) -> str:
    return f"(param {parameters}) (result i32)"


def _given(parameters: str) -> str:
    return " ".join(f"(local.get {position})" for position in range(len(parameters.split())))
