"""Keep the time zones of the package tzdata in a component. `zoneinfo` reads them from files, which do not exist there.

They are those of the build: `import tzdata` at the top of the function's file puts them in.
"""

import io
import os
import sys
import zlib
from typing import IO, Any

_HINT = "the component has no time zones; install tzdata and import it at the top of the function's file"


class Zones:
    """Time zones by key, packed."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def keep(self) -> None:
        """Pack the zones of the package tzdata, if the build has loaded it."""
        package = sys.modules.get("tzdata")
        folder = os.path.join(os.path.dirname(str(package.__file__)), "zoneinfo") if package else ""  # noqa: PTH118, PTH120
        for place, _, names in os.walk(folder) if folder else ():
            for name in names:
                path = f"{place}/{name}"
                with open(path, "rb") as file:  # noqa: PTH123  # pathlib need not be loaded in the sandbox
                    content = file.read()
                if content.startswith(b"TZif"):
                    self._packed[path[len(folder) + 1 :]] = zlib.compress(content)

    def use(self) -> None:
        """Let `zoneinfo` read them. It has been loaded."""
        zoneinfo: Any = sys.modules["zoneinfo"]
        zoneinfo._common.load_tzdata = self._load
        zoneinfo.available_timezones = lambda: set(self._packed)

    def _load(self, key: str) -> IO[bytes]:
        if key not in self._packed:
            error: type[Exception] = sys.modules["zoneinfo"].ZoneInfoNotFoundError
            raise error(f"No time zone found with key {key}" + ("" if self._packed else f": {_HINT}"))
        return io.BytesIO(zlib.decompress(self._packed[key]))
