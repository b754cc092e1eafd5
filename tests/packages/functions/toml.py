import toml


def call() -> object:
    """Load a document and dump it again."""
    document = toml.loads("[a]\nx = 1\n[[b]]\nday = 2024-03-01T10:00:00Z\n")
    return toml.dumps(document), document["b"][0]["day"].isoformat()
