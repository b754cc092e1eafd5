import fsspec


def call() -> object:
    """Write, list and read files of a file system in memory."""
    files = fsspec.filesystem("memory")
    files.pipe("/data/a.txt", b"hello")
    with files.open("/data/b.txt", "w") as file:
        file.write("more")
    return sorted(files.ls("/data", detail=False)), files.cat("/data/a.txt").decode(), files.size("/data/b.txt")
