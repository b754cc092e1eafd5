"""The functions of a node: which component has which, its manifest, and the invocation in a sandbox of its pool."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import asdict

from skylark_oci.metadata import Metadata
from skylark_proxy.errors import FunctionFailed, InvalidArgument, NotFound
from skylark_proxy.runtime.engine import Engine
from skylark_proxy.runtime.image import Image
from skylark_proxy.runtime.interface import State
from skylark_proxy.runtime.module import HostedModule
from skylark_proxy.runtime.pool import SandboxPool
from skylark_proxy.runtime.sandbox import Invocation, Limits, Outcome, Sandbox, SandboxConfig

Chains = Literal["own", "any"]
"""Whose bundles a function may fetch, store under and delete: those of the chain that it runs in, or all."""


_BOUNDS = {
    "ready": (0, 256),
    "limits.memory_bytes": (1, 1 << 32),
    "limits.deadline_ms": (1, 24 * 3600 * 1000),
}
"""What the numbers of a manifest may be."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file `NAME.toml` beside `NAME.wasm`; every member may be missing.

    Attributes:
        ready: How many sandboxes to make at the start, and to keep.
        reuse: Whether a sandbox serves more than one invocation without being reset.
        limits: What a sandbox may use.
        environment: The environment variables of the guest. There are no others.
        chains: Whose bundles it may name.
        package: What people say of it; for `skylark package`.
    """

    ready: int = 2
    reuse: bool = False
    limits: Limits = msgspec.field(default_factory=Limits)
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    chains: Chains = "own"
    package: Metadata = Metadata()

    @classmethod
    def beside(cls, wasm: Path) -> "Manifest":
        """The manifest of a component file; the defaults where there is none.

        Raises:
            InvalidArgument: The file is no valid manifest; the error names the member.
        """
        path = wasm.with_suffix(".toml")
        if not path.is_file():
            return cls()
        try:
            manifest = msgspec.toml.decode(path.read_bytes(), type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidArgument("manifest", str(path), f"a valid manifest ({error})") from error
        numbers = {"ready": manifest.ready} | {f"limits.{name}": one for name, one in asdict(manifest.limits).items()}
        for member, (least, most) in _BOUNDS.items():
            if not least <= numbers[member] <= most:
                expected = f"a manifest with {member} from {least} to {most}; it has {numbers[member]}"
                raise InvalidArgument("manifest", str(path), expected)
        return manifest


@dataclass(frozen=True, slots=True)
class Loaded:
    """A component of this node.

    Attributes:
        module: What its sandboxes are made of.
        image: What they begin with; None where they cannot be reset.
    """

    path: Path
    functions: tuple[str, ...]
    manifest: Manifest
    pool: SandboxPool
    module: HostedModule
    image: Image | None

    def invoke(self, invocation: Invocation, state: State) -> Outcome:
        """Runs an invocation in this thread; see `Sandbox.invoke` for what it raises."""
        with self.pool.sandbox() as sandbox:
            return sandbox.invoke(invocation, state)

    def close(self) -> None:
        """Frees its sandboxes, and what they are made of."""
        self.pool.close()
        self.module.close()
        if self.image is not None:
            self.image.close()


class Functions:
    """What this node can run."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._by_name: dict[str, Loaded] = {}

    def load(self, wasm: Path, manifest: Manifest | None = None) -> tuple[str, ...]:
        """Makes a component's functions ready to be invoked; takes seconds where it has to be compiled first.

        Returns:
            The names of its functions.

        Raises:
            InvalidArgument: It is no component of functions, its manifest is wrong, or another one has that name.
        """
        manifest = manifest or Manifest.beside(wasm)
        loaded = self._loaded(wasm, manifest, HostedModule(self._engine.wasmtime, self._engine.load(wasm), str(wasm)))
        self._by_name.update(dict.fromkeys(loaded.functions, loaded))
        return loaded.functions

    def _loaded(self, wasm: Path, manifest: Manifest, module: HostedModule) -> Loaded:
        config = SandboxConfig(manifest.limits, manifest.environment, manifest.reuse)
        with contextlib.ExitStack() as undo:
            undo.callback(module.close)
            first = Sandbox(module, config)
            undo.callback(first.close)
            try:
                names, pristine = tuple(first.functions()), first.warm_up()
            except FunctionFailed as error:
                expected = f"a component that starts within the limits of its manifest: {error.message}"
                raise InvalidArgument("component", str(wasm), expected) from error
            image = pristine.image
            if image is not None:
                undo.callback(image.close)
            for name in names:
                if name in self._by_name:
                    other = self._by_name[name].path
                    raise InvalidArgument("function", name, f"one component with it; {other} has it too")
            pool = SandboxPool(
                lambda: Sandbox(module, config, pristine if image is not None else None), manifest.ready, manifest.reuse
            )
            undo.pop_all()
        first.close()
        return Loaded(wasm, names, manifest, pool, module, image)

    def all(self) -> dict[str, Loaded]:
        """The functions by name."""
        return dict(self._by_name)

    def component(self, functions: tuple[str, ...]) -> Loaded:
        """The one component that has these functions.

        Raises:
            NotFound: There is no such function here.
            InvalidArgument: They are of several components, or none is named.
        """
        found = []
        for name in functions:
            if name not in self._by_name:
                raise NotFound("function", name, tuple(self._by_name))
            found.append(self._by_name[name])
        if not found or any(other.pool is not found[0].pool for other in found):
            raise InvalidArgument("functions", "+".join(functions), "one or more functions of the same component")
        return found[0]

    def invoke(self, invocation: Invocation, state: State) -> Outcome:
        """Runs an invocation in this thread; see `Sandbox.invoke` for what it raises."""
        return self.component(invocation.functions).invoke(invocation, state)

    def close(self) -> None:
        """Frees all sandboxes."""
        for loaded in {id(one): one for one in self._by_name.values()}.values():
            loaded.close()
