from packaging.specifiers import SpecifierSet
from packaging.version import Version


def call() -> object:
    """Sort versions and test them against a specifier."""
    versions = sorted(Version(text) for text in ("1.10", "1.9", "2.0rc1", "1.10.post1"))
    return [str(version) for version in versions], [str(one) for one in SpecifierSet(">=1.10,<2").filter(versions)]
