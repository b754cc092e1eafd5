"""Hand-written modules with the exports and imports of a hosted one: guests that no SDK keeps from anything."""

from functools import cache

from wasmtime import Config, Module
from wasmtime import Engine as WasmtimeEngine

from skylark_proxy.runtime.module import HostedModule
from wasm_files import wasm_file

PAGES = 4
NOTHING = "(i32.const 1024)"
"""The address of an outcome without anything: zeros."""

_MODULE = """
(module
    (import "skylark:state/bundles@0.1.0" "fetch"
        (func $fetch (param i32 i32 i32 i32 i32 i64 i32)))
    (import "skylark:state/bundles@0.1.0" "store"
        (func $store (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i64 i32 i32 i32)))
    (import "skylark:state/bundles@0.1.0" "delete" (func $delete (param i32 i32 i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") {pages})
    (global (export "soft-size") (mut i32) (i32.const {pages}))
    (global $free (export "global:0") (mut i32) (i32.const 65536))
    (func (export "functions") (result i32) (i32.const 1024))
    (func (export "functions:post") (param i32) {post})
    (func $handle (export "handle")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {handle})
    (func (export "handle:post") (param i32) {post})
    (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
    (func (export "free") (param i32) {free})
    (func (export "now") (result i64) (i64.const 0))
    {more})
"""
_BUMP = """
    (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.get $free)
    (global.set $free (i32.add (global.get $free) (local.get 3)))
"""


@cache
def _engine() -> WasmtimeEngine:
    config = Config()
    config.epoch_interruption = True
    return WasmtimeEngine(config)


def hosted_module(
    handle: str = NOTHING, pages: int = PAGES, realloc: str = _BUMP, post: str = "", free: str = "", more: str = ""
) -> HostedModule:
    """Make a module of the bodies of its functions, in the text format."""
    text = _MODULE.format(handle=handle, realloc=realloc, post=post, free=free, more=more, pages=pages)
    return HostedModule(_engine(), Module(_engine(), wasm_file(text)), "hand-written")


def tick() -> None:
    """Let running guests look at their deadlines."""
    _engine().increment_epoch()


def words(at: int, *values: int) -> str:
    """Instructions that write words of 32 bits from an address on."""
    return "\n".join(
        f"(i32.store (i32.const {at + 4 * place}) (i32.const {value - (value >> 31 << 32)}))"
        for place, value in enumerate(values)
    )
