"""The errors of a cluster's configuration."""

from typing import ClassVar


class ManifestError(Exception):
    """Base of the errors of manifests and of the cluster that they are for."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self)


class InvalidConfig(ManifestError):
    """The configuration file is not valid. `line` counts from 1; None: the place is not known."""

    code = "invalid-argument"

    def __init__(self, field: str, value: object, expected: str, line: int | None = None) -> None:
        where = f"{field} (line {line})" if line is not None else field
        super().__init__(f"{where}: {value!r} is not valid; expected {expected}")
        self.field = field
        self.value = value
        self.expected = expected
        self.line = line
