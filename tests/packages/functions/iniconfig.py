from iniconfig import IniConfig


def call() -> object:
    """Read sections of an INI text."""
    ini = IniConfig("app.ini", data="[a]\nname = x\nlines =\n  one\n  two\n[b]\nn = 3\n")
    return [section.name for section in ini], ini["a"]["lines"], ini.get("b", "n", convert=int), ini.lineof("b")
