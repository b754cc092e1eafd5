"""Let `zoneinfo` read the time zones of the package tzdata at once, and say what to do where they are missing.

They are those of the build: `import tzdata` at the top of the function's file puts them in.
"""

import io
import sys
from typing import IO, Any

from skylark.late_files import LateFiles

_HINT = "the component has no time zones; install tzdata and import it at the top of the function's file"


class Zones:
    """The time zones of a component.

    Args:
        files: The files of its packages.
    """

    def __init__(self, files: LateFiles) -> None:
        package = sys.modules.get("tzdata")
        self._folder = f"{str(package.__file__).removesuffix('/__init__.py')}/zoneinfo" if package else ""
        self._files = files

    def use(self) -> None:
        """Let `zoneinfo` read them. It has been loaded."""
        zoneinfo: Any = sys.modules["zoneinfo"]
        zoneinfo._common.load_tzdata = self._load

    def _load(self, key: str) -> IO[bytes]:
        try:
            return io.BytesIO(self._files.read(f"{self._folder}/{key}"))
        except KeyError:
            error: type[Exception] = sys.modules["zoneinfo"].ZoneInfoNotFoundError
            hint = "" if self._folder else f": {_HINT}"
            raise error(f"No time zone found with key {key}{hint}") from None
