"""The testbed's own errors."""

from pathlib import Path

from skylark_proxy.errors import SkylarkError


class DescriptionError(SkylarkError):
    """A description file is wrong; the error names the file, the line and the field."""

    code = "description"

    def __init__(self, file: Path, line: int, field: str, value: object, expected: str) -> None:
        place = f"{field}: " if field else ""
        super().__init__(f"{file}:{line}: {place}{value!r} is not valid; expected {expected}")
        self.file = file
        self.line = line
        self.field = field
        self.value = value
        self.expected = expected


class TestbedError(SkylarkError):
    """The testbed cannot do what was asked of it."""

    __test__ = False  # not for pytest
    code = "testbed"
