"""Native code that WasmEdge's compiler has put into a core module, read from its header without loading it.

Format: WasmEdge's "universal wasm" is the module as it was, and after it a custom section `wasmedge`
(`lib/llvm/codegen.cpp`, `outputWasmLibrary`). It begins with the version of the format, the operating system and the
processor architecture (`lib/loader/ast/section.cpp`, `Loader::loadSection(FileMgr &, AST::AOTSection &)`). A WasmEdge
for which one of the three is not right interprets the module; other runtimes pass over the section.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from skylark_oci.errors import InvalidWasm
from skylark_oci.record import BuildRecord
from skylark_oci.wasm import Wasm, read_u32

SECTION = "wasmedge"

_SYSTEMS = {1: "linux", 2: "darwin", 3: "windows"}
"""By OCI's names (image specification, "os": Go's GOOS). WasmEdge: `HostOSType`."""

_ARCHITECTURES = {1: "amd64", 2: "arm64", 3: "riscv64", 4: "arm", 5: "s390x"}
"""By OCI's names (Go's GOARCH). WasmEdge: `HostArchType`."""

_READERS = {1: "0.10 to 0.14", 2: "0.15 to 0.17", 3: "after 0.17"}
"""The versions of WasmEdge that take a version of the format (`include/aot/version.h`, `kBinaryVersion`, by tag)."""

_IN_CLUSTERS = {
    1: "runwasi's shim (0.6.0) uses it, and crun with libwasmedge 0.13.5 to 0.14",
    2: "crun with libwasmedge 0.15 or 0.16 uses it; crun with 0.17 interprets, and so does runwasi's shim (0.6.0)",
}
"""What uses a version of the format in a cluster.

crun sets no run mode, and from 0.17 on a library that is told none interprets (crun, `handlers/wasmedge.c`; WasmEdge,
`include/common/configure.h`, by tag). Our modules need 0.13.5. runwasi's shim is linked with WasmEdge 0.14.
"""

_NOWHERE = (
    "neither crun nor runwasi's shim uses it: they interpret the module. For crun with libwasmedge 0.15 or 0.16 "
    "compile it with a wasmedge of 0.15 to 0.17, for runwasi's shim (0.6.0) with one of 0.14"
)

TARGET_ANNOTATION = "io.skylark.target"
"""The annotation of a package that says what it was built for."""

_ANNOTATION = "io.skylark.wasmedge.aot."

_OF_RUNWASI = 1
"""The version of the format that runwasi's shim uses."""


@dataclass(frozen=True, slots=True)
class NativeCode:
    """The native code in a module.

    Attributes:
        format: The version of WasmEdge's format.
        os: The operating system that it is for, by OCI's name.
        architecture: The processor architecture that it is for, by OCI's name.
        size_bytes: How much of the file it is.
    """

    format: int
    os: str
    architecture: str
    size_bytes: int

    @property
    def read_by(self) -> str:
        """What runs it; other versions interpret the module."""
        known = _READERS.get(self.format)
        return f"WasmEdge {known}" if known else f"a WasmEdge whose AOT format is {self.format}"

    @property
    def in_clusters(self) -> str:
        """Return which of the runtimes of a cluster use it."""
        return used_in_clusters(self.format)

    def __str__(self) -> str:
        return (
            f"native code for {self.os}/{self.architecture}, run by {self.read_by} (0.17 and newer with "
            f"--run-mode aot); elsewhere it is interpreted. In a cluster {self.in_clusters}"
        )

    def described(self) -> dict[str, str | int]:
        """Return its fields, and who runs it, for programs."""
        return dataclasses.asdict(self) | {"read_by": self.read_by, "in_clusters": self.in_clusters}


def used_in_clusters(format: int) -> str:
    """Return which of the runtimes of a cluster use native code of this version of the format."""
    return _IN_CLUSTERS.get(format, _NOWHERE)


def may_be_interpreted(annotations: Mapping[str, str], handler: str) -> str | None:
    """Return which runtimes use the native code of a package, if a cluster might interpret it; else None.

    Args:
        annotations: Those of the package's manifest.
        handler: The handler of the cluster's RuntimeClass. One called `crun` is crun.
    """
    said = annotations.get(f"{_ANNOTATION}format", "")
    if not (said.isascii() and said.isdecimal()):
        return None
    # nothing in a cluster tells which libwasmedge its crun has loaded
    safe = int(said) == _OF_RUNWASI and "crun" not in handler
    return None if safe else used_in_clusters(int(said))


def read_native_code(wasm: Wasm, name: str) -> NativeCode | None:
    """The native code of a module; None where it has none.

    Raises:
        InvalidWasm: Its header cannot be read; `name` is what the error calls the file.
    """
    content = wasm.custom.get(SECTION)
    if content is None:
        return None
    version, offset = read_u32(content, name)
    if len(content) < offset + 2:
        raise InvalidWasm(name, f"its section {SECTION!r} is no native code: it ends too early")
    os, architecture = content[offset : offset + 2]
    return NativeCode(
        format=version,
        os=_SYSTEMS.get(os, f"unknown-{os}"),
        architecture=_ARCHITECTURES.get(architecture, f"unknown-{architecture}"),
        size_bytes=len(content),
    )


def annotations(code: NativeCode | None, record: BuildRecord | None) -> Mapping[str, str]:
    """What the manifest of a package says of what it was built for. Registries show it without pulling a layer."""
    said = {TARGET_ANNOTATION: record.target} if record and record.target else {}
    if code is None:
        return said
    found = {"format": str(code.format), "os": code.os, "architecture": code.architecture}
    if record and record.compilation:
        found |= {"optimization": record.compilation.optimization, "cpu": record.compilation.cpu}
    return said | {_ANNOTATION + name: value for name, value in sorted(found.items())}
