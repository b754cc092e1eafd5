from tabulate import tabulate


def call() -> object:
    """Format rows as text and as Markdown."""
    rows = [["a", 1.5], ["コ", 22.25]]
    return tabulate(rows, ["name", "value"]), tabulate(rows, ["name", "value"], tablefmt="github", floatfmt=".1f")
