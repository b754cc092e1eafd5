from docutils.core import publish_parts


def call() -> object:
    """Render reStructuredText as HTML."""
    text = "Title\n=====\n\n*One* ``two`` [1]_\n\n.. note:: careful\n\n.. [1] foot\n"
    return publish_parts(text, writer="html5", settings_overrides={"embed_stylesheet": False})["body"]
