"""Makes a WebAssembly component of Python one core module, for runtimes that load no components."""

from skylark_flatten.errors import FlattenError, Malformed, Unsupported
from skylark_flatten.flatten import Flattened, flatten

__all__ = ["FlattenError", "Flattened", "Malformed", "Unsupported", "flatten"]
