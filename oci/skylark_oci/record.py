"""The build record: what went into a component, in a custom section of it."""

import msgspec

from skylark_oci.errors import InvalidWasm
from skylark_oci.wasm import Wasm, custom_section

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


class BuildRecord(msgspec.Struct, frozen=True, rename="camel"):
    """What went into a component.

    Attributes:
        world: The WIT world that it was built for.
        tools: The versions of what built it, by name.
        modules: The function's own modules and those of distributions, sorted by name.
        distributions: Those distributions, sorted by name.
    """

    world: str
    tools: dict[str, str]
    modules: list[Module]
    distributions: list[Distribution]


def encode_record(record: BuildRecord) -> bytes:
    """The custom section to append to a component; the same bytes for the same record."""
    return custom_section(SECTION, msgspec.json.encode(record, order="deterministic"))


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
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidWasm(name, f"its section {SECTION!r} is no build record ({error})") from error
