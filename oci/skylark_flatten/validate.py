"""Whether a linked module is a valid one that needs WebAssembly 2.0 and what its host has, and nothing else."""

from collections.abc import Collection

from wasmtime import Config, Engine, Module, WasmtimeError

from skylark_flatten.errors import FlattenError
from skylark_flatten.module import read_module
from skylark_flatten.plan import SYSTEM


def validate(content: bytes, given: Collection[str] = (SYSTEM,)) -> tuple[str, ...]:
    """Validates a linked module, its code included.

    The code has been held to the instructions of WebAssembly 2.0 by `instructions`, and constant expressions by
    `constants`; types and what else the specification's chapter 3 demands are wasmtime's to check.

    Args:
        content: The module.
        given: The names of the modules that it may import from.

    Returns:
        The names of the system's functions that it imports.

    Raises:
        FlattenError: It is not valid: a fault of the linker, or of a component that was not valid itself.
    """
    config = Config()
    config.wasm_threads = False
    config.wasm_tail_call = False
    config.wasm_relaxed_simd = False
    config.wasm_multi_memory = False
    config.wasm_memory64 = False
    try:
        Module.validate(Engine(config), content)
    except WasmtimeError as error:
        raise FlattenError(f"what it was linked to is not a valid module: {error}") from error
    imports = read_module(content).imports
    if foreign := [f"{one.module}.{one.name}" for one in imports if one.module not in given]:
        raise FlattenError(f"what it was linked to imports {', '.join(foreign)}")
    return tuple(one.name for one in imports if one.module == SYSTEM)
