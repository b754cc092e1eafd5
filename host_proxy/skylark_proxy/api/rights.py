"""Who may do what at a proxy and at node-info: one table, by the class of a route and the identity that was proven.

Nothing here does I/O. `callers` says who asks, `access` enforces the table.
"""

from collections.abc import Mapping
from enum import Enum

from starlette.datastructures import QueryParams


class RouteClass(Enum):
    """What a request asks for. The value is how errors call it."""

    PUBLIC = "functions, and what tells about the node"
    BUNDLE = "one bundle"
    STATE = "state"
    OPERATION = "the work of an operator on the node"
    PEERS = "what nodes ask of each other"
    CONTROL = "changes of the topology and the objectives"


class Identity(Enum):
    """Who sends a request, by what was proven. The value is how errors call it."""

    PEER = "another node, by its signature or its certificate"
    LOCAL = "a client on this node"
    NETWORK = "a client in one of SKYLARK_LOCAL_NETWORKS"
    INVOCATION = "a function's invocation, by its token"
    STRANGER = "another machine"


READING = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing, unless the route's class says otherwise."""

_ALL = frozenset(Identity)
_OF_THIS_NODE = frozenset({Identity.PEER, Identity.LOCAL, Identity.NETWORK})

_ALLOWED: Mapping[RouteClass, frozenset[Identity]] = {
    RouteClass.PUBLIC: _ALL,
    RouteClass.BUNDLE: _OF_THIS_NODE | {Identity.INVOCATION},  # and then its own chain only
    RouteClass.STATE: _OF_THIS_NODE,
    RouteClass.OPERATION: _OF_THIS_NODE,
    RouteClass.PEERS: frozenset({Identity.PEER}),
    RouteClass.CONTROL: frozenset({Identity.PEER}),
}


def allowed(route: RouteClass, identity: Identity) -> bool:
    """True if somebody with this identity may use such a route, where identities can be proven at all."""
    return identity in _ALLOWED[route]


def those_allowed(route: RouteClass) -> str:
    """Return who may use such a route, for an error."""
    return " or ".join(identity.value for identity in Identity if allowed(route, identity))


def acts(route: RouteClass, method: str) -> bool:
    """True if a request does something, or reads what a page in a browser has no business with.

    `GET /refresh` and `GET /benchmark` act too.
    """
    return route is not RouteClass.PUBLIC or method not in READING


_PUBLIC = frozenset({"functions", "tasks", "neighbors", "storage-node", "health", "metrics", "openapi.json"})
_STATE = frozenset({"bundles", "state", "save"})
_ANNOUNCEMENT = "/announcement"


def route_of_proxy(_method: str, path: str, query: str) -> RouteClass:
    """Return the class of a request to a proxy. A path that is not known is one of the operator's."""
    first, _, rest = path.removeprefix("/").partition("/") if path.startswith("/") else ("", "", "")
    if first in _PUBLIC:
        return RouteClass.PUBLIC
    if first == "bundles" and (path.endswith(_ANNOUNCEMENT) or _is_local(query)):
        return RouteClass.PEERS
    if first == "bundles" and rest and "/" not in rest:
        return RouteClass.BUNDLE
    return RouteClass.STATE if first in _STATE else RouteClass.OPERATION


def _is_local(query: str) -> bool:
    return bool(query) and "local" in QueryParams(query).getlist("scope")


def route_of_node_info(method: str, _path: str, _query: str) -> RouteClass:
    """Return the class of a request to node-info: everybody may read there."""
    return RouteClass.PUBLIC if method in READING else RouteClass.CONTROL
