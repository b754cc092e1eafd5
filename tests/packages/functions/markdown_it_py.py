from markdown_it import MarkdownIt


def call() -> object:
    """Render Markdown with a table and an entity."""
    return MarkdownIt("commonmark").enable("table").render("# A &auml;\n\n|a|b|\n|-|-|\n|*1*|`2`|\n")
