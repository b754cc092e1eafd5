"""The local store, whose bundles are read into memory only as the budget has room for them; see `budget`."""

from collections.abc import Collection

from skylark_proxy.budget import share_here
from skylark_proxy.model import StateKey
from skylark_proxy.store import Into, Store, StoredBundle


class StoreInBudget(Store):
    """The same store. What a request or a call of a function reads counts for it until it is over."""

    def find(self, key: StateKey, fields: Collection[str] | None = None, into: Into | None = None) -> StoredBundle:
        """See `Store.find`.

        Raises:
            Overloaded: There is no room for it.
        """
        share = share_here()
        if share is None or fields == ():
            return super().find(key, fields, into)
        with share.reading(
            self._max_bundle_bytes, lambda: super(StoreInBudget, self).find(key, ()).info.size_bytes
        ) as note:
            stored = super().find(key, fields, into)
            note(sum(map(len, stored.fields.values())))
        return stored
