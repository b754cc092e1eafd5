"""Small WebAssembly files for the tests, written by the reference encoder that comes with wasmtime."""

from functools import cache

from wasmtime import wat2wasm

COMPONENT = """
(component
    (import "wasi:io/poll@0.2.9" (instance))
    (instance $handler)
    (export "skylark:state/handler@0.1.0" (instance $handler)))
"""
"""By its names it is of the world `skylark:state/hosted`; it has nothing to run."""

OTHER_WORLD = """
(component
    (import "wasi:http/types@0.2.9" (instance))
    (instance $handler)
    (export "wasi:http/incoming-handler@0.2.9" (instance $handler)))
"""

COMMAND = """
(component
    (instance $run)
    (export "wasi:cli/run@0.2.9" (instance $run)))
"""
"""A component that is a process of its own, as those of the target `command`."""

MODULE = '(module (func (export "_start")))'


@cache
def wasm_file(text: str) -> bytes:
    """The bytes of a component or module in the text format."""
    return bytes(wat2wasm(text))
