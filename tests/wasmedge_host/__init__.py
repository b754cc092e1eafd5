"""A small host for core modules that are meant for WasmEdge: preview 1 of wasmtime, and WasmEdge's socket functions."""

from wasmedge_host.host import run

__all__ = ["run"]
