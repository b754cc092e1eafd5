import tomlkit


def call() -> object:
    """Change a document and keep its comments."""
    document = tomlkit.parse("# top\n[a]\nx = 1 # one\n\n[b]\ny = [1, 2]\n")
    document["a"]["x"] = 2
    document["b"]["y"].append(3)
    document["a"].add("day", tomlkit.date("2024-03-01"))
    return tomlkit.dumps(document), document.unwrap()["b"]
