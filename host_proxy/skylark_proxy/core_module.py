"""What is packaged for WasmEdge: one core module, made of whatever it is given, plain or with native code."""

import tempfile
import threading
from pathlib import Path

import msgspec

from skylark_oci import aot as native
from skylark_oci.record import SECTION, BuildRecord, Compilation, read_record, with_record
from skylark_oci.wasm import Kind, read_wasm, without_custom_section
from skylark_proxy.aot import Ahead, compiled
from skylark_proxy.build import build
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.flat import Report, flattened
from skylark_proxy.target import Target


def core_module(file: Path, paths: tuple[Path, ...], cache_dir: Path, report: Report) -> bytes:
    """The module of a function's source, of a component of the world `command`, or a module as it is.

    Args:
        file: Any of them; a source's name ends in `.py`.
        paths: Folders with further modules that a source imports.
        cache_dir: Where components and modules are kept.
        report: Is told each step as it begins.

    Raises:
        InvalidArgument: The file cannot be read, or is a component of another world.
        InvalidWasm: It is damaged.
        BuildError: The source cannot be built, or the component cannot be made a module.
    """
    if file.suffix == ".py":
        return built(file, paths, cache_dir, Target.WASMEDGE, report)
    content = read(file)
    wasm = read_wasm(content, str(file))
    if wasm.kind is Kind.MODULE:
        return content
    check_target(content, file, Target.COMMAND)
    record = read_record(wasm, str(file))
    plain = without_custom_section(content, SECTION, str(file))
    flat = flattened(plain, file.name, cache_dir / "components", threading.Event(), report)
    module = flat.module.read_bytes()
    return module if record is None else with_record(module, _flat_record(record, flat.tools), str(file))


def with_native_code(module: bytes, name: str, ahead: Ahead, cache_dir: Path, report: Report) -> bytes:
    """The module with native code in it, in place of what it may have had.

    Raises:
        InvalidWasm: It is damaged; `name` is what errors call it.
        CompileError: The compiler failed.
    """
    record = read_record(read_wasm(module, name), name)
    plain = without_custom_section(without_custom_section(module, native.SECTION, name), SECTION, name)
    made = compiled(plain, name, ahead, cache_dir / "aot", report)
    return made.content if record is None else with_record(made.content, _compiled_record(record, ahead), name)


def built(source: Path, paths: tuple[Path, ...], cache_dir: Path, target: Target, report: Report) -> bytes:
    """What is built of a source for a target; see `build`."""
    with tempfile.TemporaryDirectory(prefix="skylark-package-") as folder:
        file = Path(folder) / f"{source.stem}{target.file_suffix}"
        build(source, file, cache_dir / "components", paths, target=target, report=report)
        return file.read_bytes()


def read(file: Path) -> bytes:
    """The content of a file.

    Raises:
        InvalidArgument: It cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidArgument("component", str(file), f"a readable file ({error.strerror})") from error


def check_target(content: bytes, file: Path, target: Target) -> None:
    """Checks that a component exports what a target runs.

    Raises:
        InvalidArgument: It does not.
        InvalidWasm: It is damaged.
    """
    wasm = read_wasm(content, str(file))
    export = target.component.export
    if export not in wasm.exports:
        exported = ", ".join(wasm.exports) or "nothing"
        expected = f"a component that exports {export}; it has {exported}: skylark build SOURCE --target {target}"
        raise InvalidArgument("component", str(file), expected)


def _flat_record(record: BuildRecord, tools: dict[str, str]) -> BuildRecord:
    return msgspec.structs.replace(record, target=str(Target.WASMEDGE), tools=record.tools | tools)


def _compiled_record(record: BuildRecord, ahead: Ahead) -> BuildRecord:
    compilation = Compilation(str(ahead.optimization), "native" if ahead.native else "generic")
    tools = record.tools | {"wasmedge": ahead.compiler.version}
    return msgspec.structs.replace(record, tools=tools, compilation=compilation)
