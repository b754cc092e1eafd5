import jsonpointer


def call() -> object:
    """Read, set and refuse places of a document."""
    document = {"a": [{"b/c": 1}]}
    try:
        jsonpointer.resolve_pointer(document, "/a/7")
    except jsonpointer.JsonPointerException as error:
        refused = str(error)
    changed = jsonpointer.set_pointer(document, "/a/0/d", 2, inplace=False)
    return jsonpointer.resolve_pointer(document, "/a/0/b~1c"), changed, refused
