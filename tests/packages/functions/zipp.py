import io
import zipfile

import zipp


def call() -> object:
    """Walk and read an archive in memory by paths."""
    archive = zipfile.ZipFile(io.BytesIO(), "w")
    archive.writestr("a/b.txt", "hello")
    archive.writestr("a/c/d.txt", "world")
    root = zipp.Path(archive)
    return (
        [one.name for one in (root / "a").iterdir()],
        (root / "a" / "b.txt").read_text("utf-8"),
        len(list(root.glob("**/*.txt"))),
    )
