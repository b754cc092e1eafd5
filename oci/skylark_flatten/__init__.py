"""Makes a WebAssembly component of Python one core module, for runtimes that load no components, and for the proxy."""

from skylark_flatten.errors import FlattenError, Malformed, Unsupported
from skylark_flatten.flatten import Flattened, flatten
from skylark_flatten.link import SOFT_SIZE
from skylark_flatten.plan import World

__all__ = ["SOFT_SIZE", "FlattenError", "Flattened", "Malformed", "Unsupported", "World", "flatten"]
