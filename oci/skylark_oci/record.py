"""The build record: what went into a component, in a custom section of it."""

import msgspec

from skylark_oci.errors import InvalidWasm
from skylark_oci.wasm import Wasm, custom_section, without_custom_section

SECTION = "skylark:build-record"


class Module(msgspec.Struct, frozen=True):
    """A Python module: its dotted name and the SHA-256 of its source, in hexadecimal."""

    name: str
    sha256: str


class Distribution(msgspec.Struct, frozen=True):
    """An installed distribution that modules came from. `license` is what it says itself; None: it says nothing."""

    name: str
    version: str
    license: str | None = None


class Compilation(msgspec.Struct, frozen=True):
    """How native code got into a module; see `aot`.

    Attributes:
        optimization: The compiler's level, such as `2` or `s`.
        cpu: `native`: tuned for the processor that it was compiled on. `generic`: not tuned.
    """

    optimization: str
    cpu: str


class BuildRecord(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What went into a component, or into the module that was made of one.

    Attributes:
        world: The WIT world that it was built for.
        tools: The versions of what built it, by name.
        modules: The function's own modules and those of distributions, sorted by name.
        distributions: Those distributions, sorted by name.
        target: Who was to run it; None: it does not say.
        compilation: How it was compiled ahead of time; None: it was not.
    """

    world: str
    tools: dict[str, str]
    modules: list[Module]
    distributions: list[Distribution]
    target: str | None = None
    compilation: Compilation | None = None


def encode_record(record: BuildRecord) -> bytes:
    """The custom section to append to a component; the same bytes for the same record."""
    return custom_section(SECTION, msgspec.json.encode(record, order="deterministic"))


def with_record(content: bytes, record: BuildRecord, name: str) -> bytes:
    """A component or module with a record in place of the one that it has.

    Raises:
        InvalidWasm: It is neither, or damaged; `name` is what the error calls the file.
    """
    return without_custom_section(content, SECTION, name) + encode_record(record)


def read_record(wasm: Wasm, name: str) -> BuildRecord | None:
    """The build record of a component; None where it has none.

    Raises:
        InvalidWasm: It has one that cannot be read; `name` is what the error calls the file.
    """
    content = wasm.custom.get(SECTION)
    if content is None:
        return None
    try:
        return msgspec.json.decode(content, type=BuildRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidWasm(name, f"its section {SECTION!r} is no build record ({error})") from error
