import pathspec


def call() -> object:
    """Match paths against the patterns of a .gitignore file."""
    spec = pathspec.GitIgnoreSpec.from_lines(["*.log", "!keep.log", "build/", "/top.txt"])
    return [path for path in ("a.log", "keep.log", "x/build/o", "top.txt", "x/top.txt") if spec.match_file(path)]
