from mako.template import Template


def call() -> object:
    """Render a template with a loop, a block of Python and a filter."""
    return Template("% for i in items:\n${loop.index}: ${i | h}\n% endfor\n<% n = len(items) %>${n}").render(
        items=["<a>", "b"]
    )
