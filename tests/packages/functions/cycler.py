from cycler import cycler


def call() -> object:
    """Combine cycles of properties."""
    return (
        [*(cycler(color="rg") + cycler(width=[1, 2]))],
        len(cycler(a="xyz") * cycler(b=[1, 2])),
        (cycler(c="ab") * 2).by_key(),
    )
