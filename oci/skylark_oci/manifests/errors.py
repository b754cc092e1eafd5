"""The errors of a cluster's configuration."""

from skylark_oci.errors import PackageError


class ManifestError(PackageError):
    """Base of the errors of manifests and of the cluster that they are for."""

    code = "internal"


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
