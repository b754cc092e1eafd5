import io

from dotenv import dotenv_values


def call() -> object:
    """Read settings with quotes and a reference."""
    return dotenv_values(stream=io.StringIO("A=1\nexport B='two words'\nC=${A}2 # note\nD\n"))
