"""Where a request comes from: connections, reverse proxies, pages and hosts."""

from collections.abc import Mapping
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_proxy.api.callers import client_of, foreign_page, identity_of, known_host, parse_address
from skylark_proxy.api.rights import Identity

PROXIES = [ip_network("10.0.0.1/32"), ip_network("10.9.0.0/16"), ip_network("fd00::/8")]
XFF, FORWARDED = "x-forwarded-for", "forwarded"


def sender(client: str | None, headers: Mapping[str, str]) -> str | None:
    """The address that counts; None: nobody knows it."""
    address = client_of(client, headers, PROXIES).address
    return None if address is None else str(address)


class TestForwardedRequests:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({XFF: "203.0.113.7"}, "203.0.113.7"),
            ({XFF: "127.0.0.1, 203.0.113.7"}, "203.0.113.7"),
            ({XFF: "127.0.0.1,203.0.113.7 , 10.9.3.4,10.0.0.1"}, "203.0.113.7"),
            ({XFF: "203.0.113.7:4711"}, "203.0.113.7"),
            ({XFF: "[2001:db8::1]:4711"}, "2001:db8::1"),
            ({XFF: "2001:db8::1, fd00::2"}, "2001:db8::1"),
            ({XFF: "::ffff:203.0.113.7"}, "203.0.113.7"),
            ({XFF: "127.0.0.1, unknown"}, None),
            ({XFF: "127.0.0.1, "}, None),
            ({XFF: ""}, None),
            ({XFF: "10.9.3.4, 10.9.3.5"}, "10.9.3.4"),
            ({XFF: "127.0.0.1"}, "127.0.0.1"),
            ({FORWARDED: "for=203.0.113.7"}, "203.0.113.7"),
            ({FORWARDED: "for=127.0.0.1, FOR=203.0.113.7;proto=http;by=10.0.0.1"}, "203.0.113.7"),
            ({FORWARDED: 'for="[2001:db8::1]:4711";host=x'}, "2001:db8::1"),
            ({FORWARDED: "for=127.0.0.1, for=_hidden"}, None),
            ({FORWARDED: "for=127.0.0.1, proto=http"}, None),
            ({FORWARDED: "for=127.0.0.1;for=127.0.0.2"}, None),
            ({FORWARDED: "for=127.0.0.1", XFF: "203.0.113.7"}, None),
            ({FORWARDED: "for=203.0.113.7", XFF: "203.0.113.7"}, "203.0.113.7"),
            ({"x-real-ip": "127.0.0.1"}, None),
            ({"via": "1.1 proxy"}, None),
            ({"x-forwarded-host": "localhost"}, None),
            ({}, "10.0.0.1"),
        ],
    )
    def test_by_a_trusted_proxy(self, headers: dict[str, str], expected: str | None) -> None:
        """The right-most address that is no proxy's counts; what contradicts itself or is unknown, is nobody's."""
        assert sender("10.0.0.1", headers) == expected

    @pytest.mark.parametrize("client", ["127.0.0.1", "::1", "203.0.113.9", "unknown", None])
    @pytest.mark.parametrize("name", [XFF, FORWARDED, "x-real-ip", "x-forwarded-anything", "cf-connecting-ip", "via"])
    def test_by_somebody_else(self, client: str | None, name: str) -> None:
        """A request that somebody forwards who is not trusted is of no address, also on this machine."""
        found = client_of(client, {name: "127.0.0.1"}, PROXIES)
        assert (found.address, found.direct) == (None, False)
        assert identity_of(found, "127.0.0.1", [ip_network("0.0.0.0/0")]) is Identity.STRANGER
        assert f"{name}: 127.0.0.1" in found.shown

    @given(value=st.text(max_size=80), name=st.sampled_from([XFF, FORWARDED]))
    def test_any_text(self, value: str, name: str) -> None:
        """No text makes a request local that has no local address at its end."""
        found = client_of(
            "10.0.0.1", {name: f"{value}, 203.0.113.7" if name == XFF else f"{value},for=203.0.113.7"}, []
        )
        assert identity_of(found, None, ()) is Identity.STRANGER
        trusted = client_of("10.0.0.1", {XFF: f"{value}, 203.0.113.7"}, PROXIES)
        assert str(trusted.address) == "203.0.113.7"


class TestAddresses:
    @pytest.mark.parametrize(
        ("client", "server", "expected"),
        [
            ("127.0.0.1", "10.0.0.5", Identity.LOCAL),
            ("127.8.8.8", "10.0.0.5", Identity.LOCAL),
            ("::ffff:127.0.0.1", "::", Identity.LOCAL),
            ("10.0.0.5", "10.0.0.5", Identity.LOCAL),
            (None, None, Identity.LOCAL),
            ("10.42.0.9", "10.0.0.5", Identity.NETWORK),
            ("10.43.0.9", "10.0.0.5", Identity.STRANGER),
            ("10.0.0.6", "10.0.0.5", Identity.STRANGER),
            ("10.0.0.6", None, Identity.STRANGER),
            ("unknown", "unknown", Identity.STRANGER),
        ],
    )
    def test_identities(self, client: str | None, server: str | None, expected: Identity) -> None:
        """Loopback, the node's own address and a unix socket are this node; the operator's networks are told apart."""
        networks = [ip_network("10.42.0.0/24"), ip_network("fd00::/8")]
        assert identity_of(client_of(client, {}, ()), server, networks) is expected

    def test_addresses_of_ipv4_in_ipv6(self) -> None:
        """They count as what they are."""
        assert str(parse_address("::ffff:10.0.0.5")) == "10.0.0.5"
        assert parse_address("10.0.0.256") is None


class TestPages:
    @pytest.mark.parametrize(
        ("headers", "foreign"),
        [
            ({}, False),
            ({"origin": "http://127.0.0.1:30002", "host": "127.0.0.1:30002"}, False),
            ({"origin": "http://sat1", "host": "sat1:80"}, False),
            ({"origin": "https://sat1:443", "host": "sat1"}, False),
            ({"origin": "http://SAT1:30002", "host": "sat1:30002"}, False),
            ({"origin": "http://[::1]:30002", "host": "[::1]:30002"}, False),
            ({"origin": "http://127.0.0.1:3000", "host": "127.0.0.1:30002"}, True),
            ({"origin": "http://localhost:30002", "host": "127.0.0.1:30002"}, True),
            ({"origin": "https://sat1", "host": "sat1:30002"}, True),
            ({"origin": "null", "host": "sat1"}, True),
            ({"origin": "", "host": ""}, True),
            ({"origin": "http://sat1:x", "host": "sat1"}, True),
            ({"origin": "http://sat1, http://evil", "host": "sat1"}, True),
            ({"origin": "http://sat1"}, True),
            ({"sec-fetch-site": "same-origin"}, False),
            ({"sec-fetch-site": "none"}, False),
            ({"sec-fetch-site": "same-site"}, True),
            ({"sec-fetch-site": "cross-site"}, True),
            ({"sec-fetch-site": "what comes later"}, True),
            ({"sec-fetch-site": "same-origin", "origin": "http://evil", "host": "sat1"}, True),
        ],
    )
    def test_origins(self, headers: dict[str, str], foreign: bool) -> None:
        """Only a page that the node itself has served is of its origin: scheme aside, host and port are the same."""
        assert (foreign_page(headers) is not None) is foreign


class TestHosts:
    @pytest.mark.parametrize(
        ("header", "known"),
        [
            ("", True),
            ("127.0.0.1:30002", True),
            ("10.0.0.5", True),
            ("[::1]:30002", True),
            ("[2001:db8::1]", True),
            ("localhost:30002", True),
            ("LocalHost.", True),
            ("sat1:30002", True),
            ("Sat1.:30002", True),
            ("proxy.skylark.svc:30002", True),
            ("a.b.example.org", True),
            ("example.org", False),
            ("evilexample.org", False),
            ("sat1.evil.example", False),
            ("127.0.0.1.evil.example", False),
            ("localhost.evil.example:30002", False),
            ("sat1, evil.example", False),
            ("[::1].evil.example", True),
            ("a." * 150 + "example.org", False),
        ],
    )
    def test_names(self, header: str, known: bool) -> None:
        """Addresses, localhost and the given names are known; a name with a dot before it stands for all below it."""
        assert known_host(header, ["sat1", "proxy.skylark.svc", ".example.org"]) is known
