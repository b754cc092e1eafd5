"""Which versions the clients of this node have seen, so that nobody is given an older one."""

from collections import OrderedDict
from collections.abc import Mapping

from skylark_proxy.model import StateKey

_MAX_KEYS = 65_536


class Seen:
    """The highest version of each bundle that was read or written through this node; the last 65,536 bundles.

    It is forgotten with the process. Who needs more passes the version that it has seen with its request.
    """

    def __init__(self) -> None:
        self._versions: OrderedDict[StateKey, int] = OrderedDict()

    def note(self, key: StateKey, version: int) -> None:
        """Note a version of the bundle of the owner that the key names."""
        # One operation of a dict at a time: each is atomic, and a lost race costs no more than one older note.
        if version > self._versions.get(key, 0):
            self._versions[key] = version
            if len(self._versions) > _MAX_KEYS:
                self._versions.popitem(last=False)

    def note_all(self, versions: Mapping[StateKey, int]) -> None:
        """Note several."""
        for key, version in versions.items():
            self.note(key, version)

    def version(self, key: StateKey) -> int:
        """Return the highest version of a bundle that was noted; 0: none."""
        return self._versions.get(key, 0)
