from markupsafe import Markup, escape


def call() -> object:
    """Escape text, alone and in a template."""
    return str(escape("<a href='x'>")), str(Markup("<b>%s</b>") % "<i>"), Markup("<p>a &amp; b</p>").striptags()
