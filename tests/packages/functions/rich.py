import io

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table


def call() -> object:
    """Render a table and Markdown as text."""
    console = Console(file=io.StringIO(), width=40, color_system=None, force_terminal=False, legacy_windows=False)
    table = Table("name", "value")
    table.add_row("é", "[bold]1[/bold]")
    console.print(table, Markdown("# Title\n\n* one"))
    return console.file.getvalue()
