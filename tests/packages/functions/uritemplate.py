import uritemplate


def call() -> object:
    """Expand a template, whole and in part."""
    template = uritemplate.URITemplate("/nodes{/id}{?q*,page}")
    return template.expand(id="a b", q=["x", "y"]), template.partial(id="1").uri, list(template.variable_names)
