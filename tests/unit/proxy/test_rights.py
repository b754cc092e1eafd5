"""The table of who may do what: each class of route with each identity."""

import pytest

from skylark_proxy.api.rights import (
    Identity,
    RouteClass,
    acts,
    allowed,
    route_of_node_info,
    route_of_proxy,
    those_allowed,
)

ALLOWED = {
    RouteClass.PUBLIC: {Identity.PEER, Identity.LOCAL, Identity.NETWORK, Identity.INVOCATION, Identity.STRANGER},
    RouteClass.BUNDLE: {Identity.PEER, Identity.LOCAL, Identity.NETWORK, Identity.INVOCATION},
    RouteClass.STATE: {Identity.PEER, Identity.LOCAL, Identity.NETWORK},
    RouteClass.OPERATION: {Identity.PEER, Identity.LOCAL, Identity.NETWORK},
    RouteClass.PEERS: {Identity.PEER},
    RouteClass.CONTROL: {Identity.PEER},
}


class TestTheTable:
    @pytest.mark.parametrize("route", RouteClass)
    @pytest.mark.parametrize("identity", Identity)
    def test_every_pair(self, route: RouteClass, identity: Identity) -> None:
        """Each identity may use these classes of routes, and no others."""
        assert allowed(route, identity) is (identity in ALLOWED[route])

    @pytest.mark.parametrize("route", RouteClass)
    def test_the_words_of_errors(self, route: RouteClass) -> None:
        """An error names all who may."""
        assert all((identity.value in those_allowed(route)) is (identity in ALLOWED[route]) for identity in Identity)


class TestRoutesOfTheProxy:
    @pytest.mark.parametrize(
        ("path", "query", "expected"),
        [
            ("/functions", "", RouteClass.PUBLIC),
            ("/functions/a+b", "key=c:t", RouteClass.PUBLIC),
            ("/tasks/t", "", RouteClass.PUBLIC),
            ("/health", "", RouteClass.PUBLIC),
            ("/health/readiness", "", RouteClass.PUBLIC),
            ("/openapi.json", "", RouteClass.PUBLIC),
            ("/neighbors", "", RouteClass.PUBLIC),
            ("/storage-node", "size=1", RouteClass.PUBLIC),
            ("/bundles/c:n:t", "scope=local", RouteClass.PEERS),
            ("/bundles/c:n:t", "ttl_ms=1&scope=local", RouteClass.PEERS),
            ("/bundles/c:n:t", "%73cope=loc%61l", RouteClass.PEERS),
            ("/bundles/c:n:t", "scope=x&scope=local", RouteClass.PEERS),
            ("/bundles/c:n:t/announcement", "", RouteClass.PEERS),
            ("/bundles/c:n:t", "", RouteClass.BUNDLE),
            ("/bundles/c:n:t", "scope=", RouteClass.BUNDLE),
            ("/bundles", "chain=c", RouteClass.STATE),
            ("/bundles/", "", RouteClass.STATE),
            ("/bundles/c:n:t/more", "", RouteClass.STATE),
            ("/state", "key=c:t", RouteClass.STATE),
            ("/save/sat", "", RouteClass.STATE),
            ("/refresh", "", RouteClass.OPERATION),
            ("/benchmark", "", RouteClass.OPERATION),
            ("/functionsx", "", RouteClass.OPERATION),
            ("//functions", "", RouteClass.OPERATION),
            ("functions", "", RouteClass.OPERATION),
            ("/what-comes-later", "", RouteClass.OPERATION),
            ("", "", RouteClass.OPERATION),
        ],
    )
    def test_the_class_of_a_path(self, path: str, query: str, expected: RouteClass) -> None:
        """What is not named is for operators on this node only; the query is read as the routes read it."""
        assert route_of_proxy("GET", path, query) is expected


class TestRoutesOfNodeInfo:
    @pytest.mark.parametrize("path", ["/objectives", "/sim-settings", "/refresh", "/measurements", "/later"])
    def test_changing(self, path: str) -> None:
        """Everybody may read; whatever changes something is controlled."""
        assert route_of_node_info("GET", path, "") is route_of_node_info("HEAD", path, "") is RouteClass.PUBLIC
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert route_of_node_info(method, path, "") is RouteClass.CONTROL


class TestActing:
    @pytest.mark.parametrize("route", RouteClass)
    def test_methods(self, route: RouteClass) -> None:
        """Only reading what is for everybody does not act."""
        assert acts(route, "POST") and acts(route, "DELETE")
        assert acts(route, "GET") is acts(route, "HEAD") is (route is not RouteClass.PUBLIC)
