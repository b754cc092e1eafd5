"""Why a component cannot be flattened."""


class FlattenError(Exception):
    """A component cannot be made one core module. No module was written.

    Attributes:
        reason: What is wrong with it, or what it needs that cannot be had.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Malformed(FlattenError):
    """It is no component, or its bytes are not what the format says.

    Attributes:
        offset: Where, in bytes from the beginning of what was read: the component, or one of its modules.
    """

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason}, at byte {offset}")
        self.reason = reason
        self.offset = offset


class Unsupported(FlattenError):
    """It is a component, but not one of those that can be flattened."""
