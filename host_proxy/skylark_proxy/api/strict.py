"""Refuses what a request asks for and an operation does not know, instead of doing something else.

`?akc=cloud` on a store, or `If-Match` where nothing is compared, means something to the caller, who would believe in
it. What an operation knows is what its OpenAPI description declares, and said nowhere else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skylark.http_routes import instead_of
from skylark_proxy.api.openapi_parts import METHODS, Json
from skylark_proxy.api.routing import Endpoint
from skylark_proxy.errors import InvalidArgument

_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "content-range")
"""Headers that change what a request does (RFC 9110, sections 13.1 and 14.5)."""

_SAFE = ("GET", "HEAD")
_IGNORABLE = ("if-none-match", "if-modified-since", "if-range")
"""Conditions that a safe request may have wherever it goes: without them it gets the whole answer (RFC 9110, 13.1)."""

_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method of a path knows: parameters of the query, and headers in lower case."""

    query: frozenset[str]
    headers: frozenset[str]

    @classmethod
    def of(cls, *declarations: Json) -> "Operation":
        """Reads it off a path's item and an operation of it."""
        declared = [parameter for one in declarations for parameter in one.get("parameters", ())]
        return cls(
            frozenset(one["name"] for one in declared if one["in"] == "query"),
            frozenset(one["name"].lower() for one in declared if one["in"] == "header"),
        )

    def check(self, method: str, path: str, query: bytes, headers: Mapping[str, str]) -> None:
        """Check a request before anything is done for it. The names of headers are in lower case.

        Raises:
            InvalidArgument: It has a parameter or a condition that is not known here; the error names it, and the
                parameter that it may have meant.
        """
        if query:
            self._check_query(query.decode("latin-1"))
        for header in _CONDITIONS:
            if header in headers and header not in self.headers:
                if method in _SAFE and header in _IGNORABLE:
                    continue
                expected = f"no such header: {method} {path[:_SHOWN]} does not look at it"
                raise InvalidArgument(header.title(), headers[header][:_SHOWN], expected)

    def _check_query(self, query: str) -> None:
        for part in query.split("&"):
            name, value = (unquote_plus(text) for text in part.partition("=")[::2])
            if part and name not in self.query:
                shown = name[:_SHOWN]
                raise InvalidArgument(shown, value[:_SHOWN], instead_of(shown, self.query))


def strict(routes: Iterable[Route], description: Json, free: tuple[str, ...] = ()) -> list[Route]:
    """The same routes, which refuse what their description does not know.

    Args:
        free: Beginnings of paths where anything may be in the query, as probes add something against caches.
    """
    paths: Mapping[str, Json] = description["paths"]
    return [route if route.path.startswith(free) else _checked(route, paths.get(route.path, {})) for route in routes]


def _checked(route: Route, item: Json) -> Route:
    operations = {method.upper(): Operation.of(item, item[method]) for method in METHODS if method in item}
    operations.setdefault("HEAD", operations.get("GET", Operation.of()))
    call: Endpoint = route.endpoint

    async def endpoint(request: Request) -> Response:
        scope = request.scope
        operations[request.method].check(request.method, scope["path"], scope["query_string"], request.headers)
        return _if_changed(request, await call(request))

    methods: Any = route.methods
    return Route(route.path, endpoint, methods=list(methods))


def _if_changed(request: Request, response: Response) -> Response:
    """The answer, or 304 where `If-None-Match` names what the caller has already (RFC 9110, section 13.1.2)."""
    known, tag = request.headers.get("if-none-match"), response.headers.get("etag")
    if known is None or tag is None or response.status_code != 200 or request.method not in _SAFE:
        return response
    if known.strip() != "*" and tag not in {one.strip().removeprefix("W/") for one in known.split(",")}:
        return response
    kept = {name: value for name, value in response.headers.items() if not name.lower().startswith("content-")}
    return Response(status_code=304, headers=kept)
