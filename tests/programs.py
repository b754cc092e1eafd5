"""Programs that tests need and that pip does not install."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The path of a program. Without it the test is skipped, but for CI, where it fails.

    Args:
        package: The Debian package that has it; `scripts/setup test` installs it where it may.
    """
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is missing; on Debian and Ubuntu: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
