"""Where a request comes from: its connection, what trusted reverse proxies say, and whether a foreign page sent it."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from skylark_proxy.api.rights import Identity

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What is longer is not kept: strangers choose these texts.
_LONGEST_ADDRESS, _LONGEST_HOST = 64, 300
_SHOWN = 100  # characters of a header that something unknown has sent
_FORWARDED = frozenset({"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^";\s]*)\s*(?=;|$)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Client:
    """The sender of a request, as far as it is known.

    Attributes:
        address: None: a unix socket if it is `direct`, else nobody knows.
        direct: False: it was forwarded by somebody who is not trusted to say for whom.
        shown: How errors and the log call it.
    """

    address: Address | None
    direct: bool
    shown: str


def client_of(client: str | None, headers: Mapping[str, str], trusted: Collection[Network]) -> Client:
    """Return the sender of a request.

    What a header says of the sender counts only if the connection is from a trusted proxy. Each proxy appends the
    address that it saw, so the right-most one that is no trusted proxy's is the sender's; what is to the left of it
    was written by the sender itself.

    Args:
        client: The address at the other end of the connection; None: it is a unix socket.
        headers: By names in lower case; the values of one that is repeated, joined with `, `.
        trusted: The networks of reverse proxies.
    """
    nearest, shown = parse_address(client or ""), client or "a unix socket"
    saying = [name for name in headers if name.startswith("x-forwarded-") or name in _FORWARDED]
    if not saying:
        return Client(nearest, nearest is not None or client is None, shown)
    text = "; ".join(f"{name}: {headers[name]}" for name in sorted(saying))[:_SHOWN]
    unknown = Client(None, False, f"{shown}, which forwards it ({text!r})")
    if nearest is None or not _within(nearest, trusted):
        return unknown
    chains = {name: list(read(headers[name])) for name, read in _CHAINS.items() if name in headers}
    found = {_sender(chain, trusted) for chain in chains.values()}
    address = found.pop() if len(found) == 1 else None  # proxies that contradict each other tell nothing
    return unknown if address is None else Client(address, True, str(address))


def identity_of(client: Client, server: str | None, local_networks: Collection[Network]) -> Identity:
    """Return what the address of a client proves.

    A node that connects to itself by its own address has the same one at both ends.

    Args:
        server: The address by which the client has reached the node.
    """
    if client.address is None:
        return Identity.LOCAL if client.direct else Identity.STRANGER
    if client.address.is_loopback or client.address == parse_address(server or ""):
        return Identity.LOCAL
    return Identity.NETWORK if _within(client.address, local_networks) else Identity.STRANGER


def foreign_page(headers: Mapping[str, str]) -> str | None:
    """Return what shows that a page of another origin sent a request in somebody's browser; None: nothing does.

    Browsers add `Origin` to everything but plain reads, and `Sec-Fetch-Site` to all requests; pages can set neither.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return f"Sec-Fetch-Site: {site[:_SHOWN]}"
    if origin is not None and not _same_origin(origin, headers.get("host", "")):
        return f"Origin: {origin[:_SHOWN]}"
    return None


def known_host(header: str, names: Collection[str]) -> bool:
    """True if a header `Host` names this node.

    A page whose name was rebound to the node's address (DNS rebinding) has its own name there. An address cannot be
    rebound, nor can `localhost`, nor a name that the operator has given.

    Args:
        names: In lower case. One that begins with a dot stands for all names that end with it.
    """
    if len(header) > _LONGEST_HOST:
        return False
    if sure_host(header):
        return True
    host = _host(header)
    return host in names or any(name.startswith(".") and host.endswith(name) for name in names)


def sure_host(header: str) -> bool:
    """True if a header `Host` is one that cannot be rebound, whatever the node is called; see `known_host`."""
    return len(header) <= _LONGEST_HOST and _is_sure(header)


def parse_address(text: str) -> Address | None:
    """Return an IP address, one of IPv4 in IPv6 as IPv4; None: it is none."""
    return _parsed(text) if len(text) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _sender(chain: list[Address | None], trusted: Collection[Network]) -> Address | None:
    for address in reversed(chain):
        if address is None or not _within(address, trusted):
            return address
    return chain[0] if chain else None


def _x_forwarded_for(value: str) -> Iterator[Address | None]:
    for part in value.split(","):
        yield _node(part.strip())


def _forwarded(value: str) -> Iterator[Address | None]:
    """The `for` of each element of a `Forwarded` header (RFC 7239, section 4); None where it names no address."""
    for element in value.split(","):
        named = _FOR.findall(element)
        yield _node(named[0].strip('"')) if len(named) == 1 else None


_CHAINS = {"x-forwarded-for": _x_forwarded_for, "forwarded": _forwarded}


def _node(text: str) -> Address | None:
    """An address with a port or without, one of IPv6 in brackets or, without a port, bare."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::[0-9]{1,5})?", text)
    if bracketed is not None:
        return parse_address(bracketed[1])
    host, colon, port = text.partition(":")
    return parse_address(host if colon and port.isascii() and port.isdecimal() else text)


def _within(address: Address, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=1024)
def _is_sure(header: str) -> bool:
    host = _host(header)
    return host in ("", "localhost") or parse_address(host.strip("[]")) is not None


@lru_cache(maxsize=1024)
def _host(authority: str) -> str:
    """The host of `host:port` in lower case, without the dot at its end; an address of IPv6 keeps its brackets."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _same_origin(origin: str, host: str) -> bool:
    try:
        page, node = urlsplit(origin), urlsplit(f"{urlsplit(origin).scheme}://{host}")
        ports = [parts.port or _DEFAULT_PORTS.get(parts.scheme) for parts in (page, node)]
    except ValueError:
        return False
    return page.hostname is not None and page.hostname == node.hostname and ports[0] == ports[1]
