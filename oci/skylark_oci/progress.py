"""How far a transfer is."""

from collections.abc import Callable

from skylark_oci.documents import Descriptor

Progress = Callable[[Descriptor, int], None]
"""Is told how many bytes of a content are done. A content that need not be moved is never told of."""


def silent(_descriptor: Descriptor, _done_bytes: int) -> None:
    """The progress that nobody looks at."""
