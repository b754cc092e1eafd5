import jmespath


def call() -> object:
    """Query a document with a filter, a projection and a function."""
    document = {"nodes": [{"name": "a", "cpu": 3}, {"name": "b", "cpu": 9}]}
    return jmespath.search("nodes[?cpu > `4`].name | [0]", document), jmespath.search("max(nodes[*].cpu)", document)
