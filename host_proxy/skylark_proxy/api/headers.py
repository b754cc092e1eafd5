"""The headers of a request, read once for all layers that look at them."""

from starlette.types import Scope

_KEY = "skylark_headers"


def headers_of(scope: Scope) -> dict[str, str]:
    """Return the headers by their names in lower case; the values of one that is repeated, joined with `, `."""
    found: dict[str, str] | None = scope.get(_KEY)
    if found is None:
        found = scope[_KEY] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
