"""Signatures of requests between proxies: HTTP Message Signatures with a key that all nodes share.

The headers are those of RFC 9421 (`Signature-Input`, `Signature`; algorithm `hmac-sha256`, section 3.3.3) and of
RFC 9530 (`Content-Digest` with `sha-256`), in one fixed profile:

- one signature, labelled `skylark`; its `keyid` is the node that sends;
- it covers `@method`, `@path`, `@query`, `content-digest`, and every header of the request that changes what it does:
  `If-Match`, `If-None-Match` and all `Skylark-…`, those that are there in the order of their names, no others. So
  neither can one be taken away nor one be added;
- `created`, in whole seconds, bounds its age; `nonce`, 16 random bytes in hexadecimal, makes it good for once;
- the path names the receiving node (`<chain_id>:<node>:<task_id>`), which refuses a key of another one, so that what
  was signed for one node is of no use at another.

Time is an argument everywhere; nothing here does I/O.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skylark.wire import Buffer
from skylark_proxy.errors import Unauthorized
from skylark_proxy.model import NAME_PATTERN

MIN_KEY_BYTES = 32
"""As many as the MAC has: RFC 2104, section 3, advises against less."""

NONCE_BYTES = 16
MAX_NONCES = 1 << 17
"""What one node remembers, 10 MB at most. With more requests than that within the skew, less skew is allowed."""

CONTENT_DIGEST, SIGNATURE, SIGNATURE_INPUT = "content-digest", "signature", "signature-input"

_LABEL = "skylark"
_ALWAYS = ("@method", "@path", "@query", CONTENT_DIGEST)
_CONDITIONS = ("if-match", "if-none-match")
_PARAMETERS = re.compile(
    rf'(?P<covered>\([^()]*\));created=(?P<created>[0-9]{{1,12}});nonce="(?P<nonce>[0-9a-f]{{{2 * NONCE_BYTES}}})"'
    rf';keyid="(?P<sender>{NAME_PATTERN})";alg="hmac-sha256"'
)
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request but for its body.

    Attributes:
        target: Path and query as they stand in the request line.
        headers: By names in lower case; the values of one that is repeated, joined with `, `.
    """

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a valid signature says.

    Attributes:
        sender: The node that sends.
        created_s: When, by its clock, in seconds since the epoch.
        sha256: The digest that the body must have.
    """

    sender: str
    created_s: int
    nonce: bytes
    sha256: bytes


class Signer:
    """Signs the requests of a node."""

    def __init__(self, key: bytes, node: str) -> None:
        self._key = key
        self._node = node

    def headers(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Iterable[Buffer],
        now_s: float,
        nonce: bytes,
    ) -> dict[str, str]:
        """The headers of a request, with those that sign it. The body is only looked at.

        Args:
            nonce: 16 bytes that no other request has.
        """
        given = {**headers, CONTENT_DIGEST: content_digest(body)}
        head = RequestHead(method, target, {name.lower(): value for name, value in given.items()})
        covered = _covered(head.headers)
        parameters = f'{_listed(covered)};created={int(now_s)};nonce="{nonce.hex()}";keyid="{self._node}"'
        parameters += ';alg="hmac-sha256"'
        return given | {
            SIGNATURE_INPUT: f"{_LABEL}={parameters}",
            SIGNATURE: f"{_LABEL}={_bytes(mac(self._key, _components(head, covered), parameters))}",
        }


class Verifier:
    """Verifies the requests that a node gets; for one thread.

    Args:
        max_skew_s: How far the sender's time may be from that of this node, in either direction.
        max_nonces: How many requests are remembered.
    """

    def __init__(self, key: bytes, max_skew_s: float, max_nonces: int = MAX_NONCES) -> None:
        self._key = key
        self._max_skew_s = max_skew_s
        self._seen = _Seen(max_nonces)

    def verify(self, head: RequestHead, now_s: float) -> Signature:
        """What the signature of a request says; the body, which may not have come yet, is still to be compared.

        Raises:
            Unauthorized: There is none, or it is not valid, too old, from the future, or was used before.
        """
        signature = verify(self._key, head)
        ahead_s = signature.created_s - now_s
        if abs(ahead_s) > self._max_skew_s:
            raise Unauthorized(
                f"node {signature.sender!r} signed it {abs(ahead_s):.0f} s {'after' if ahead_s > 0 else 'before'} the "
                f"time of this node, {self._max_skew_s:g} s are allowed; compare their clocks",
                ahead_s,
            )
        self._seen.forget_before(now_s - self._max_skew_s)
        self._seen.add(signature.nonce, signature.created_s)
        return signature


class _Seen:
    """The nonces of the requests that are still young enough to be sent again, by the second of their signature."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._by_second: dict[int, set[bytes]] = {}
        self._forgotten_s = -1

    def forget_before(self, at_s: float) -> None:
        """Forgets what was signed before a time, which nobody would accept any more."""
        for second in [second for second in self._by_second if second < at_s]:
            self._count -= len(self._by_second.pop(second))

    def add(self, nonce: bytes, created_s: int) -> None:
        """Remembers a request; forgets the oldest ones if there are too many, and refuses their likes from then on.

        Raises:
            Unauthorized: It is known, or so old that it may have been forgotten.
        """
        if created_s <= self._forgotten_s:
            raise Unauthorized(f"it is older than the {self._limit} requests that this node remembers")
        nonces = self._by_second.setdefault(created_s, set())
        if nonce in nonces:
            raise Unauthorized("it was sent before")
        nonces.add(nonce)
        self._count += 1
        while self._count > self._limit:
            self._forgotten_s = min(self._by_second)
            self._count -= len(self._by_second.pop(self._forgotten_s))


def verify(key: bytes, head: RequestHead) -> Signature:
    """What the signature of a request says, whatever its time.

    Raises:
        Unauthorized: There is none, or it is not valid.
    """
    given = [head.headers.get(name) for name in (SIGNATURE_INPUT, SIGNATURE, CONTENT_DIGEST)]
    if given[0] is None or given[1] is None or given[2] is None:
        raise Unauthorized(f"requests between nodes are signed: {SIGNATURE_INPUT}, {SIGNATURE}, {CONTENT_DIGEST}")
    parameters = given[0].removeprefix(f"{_LABEL}=")
    parsed, digest = _PARAMETERS.fullmatch(parameters), _DIGEST.fullmatch(given[2])
    covered = _covered(head.headers)
    if parsed is None or digest is None or parameters == given[0] or parsed["covered"] != _listed(covered):
        raise Unauthorized(f"its signature is not of the form of this version, which covers {_listed(covered)}")
    expected = f"{_LABEL}={_bytes(mac(key, _components(head, covered), parameters))}"
    if not hmac.compare_digest(expected.encode(), given[1].encode()):
        raise Unauthorized("its signature is wrong: it was made with another key, or the request was changed")
    return Signature(
        parsed["sender"], int(parsed["created"]), bytes.fromhex(parsed["nonce"]), binascii.a2b_base64(digest[1])
    )


def content_digest(body: Iterable[Buffer]) -> str:
    """The header `Content-Digest` of a body (RFC 9530, section 2)."""
    running = hashlib.sha256()
    for part in body:
        running.update(part)
    return f"sha-256={_bytes(running.digest())}"


def mac(key: bytes, components: Mapping[str, str], parameters: str) -> bytes:
    """The HMAC-SHA-256 over a signature base (RFC 9421, sections 2.5 and 3.3.3)."""
    lines = [f'"{name}": {value}' for name, value in {**components, "@signature-params": parameters}.items()]
    return hmac.digest(key, "\n".join(lines).encode(), "sha256")


def _covered(headers: Iterable[str]) -> tuple[str, ...]:
    changing = (name for name in headers if name in _CONDITIONS or name.startswith("skylark-"))
    return (*_ALWAYS, *sorted(changing))


def _listed(covered: Iterable[str]) -> str:
    return "(" + " ".join(f'"{name}"' for name in covered) + ")"


def _components(head: RequestHead, covered: Iterable[str]) -> dict[str, str]:
    path, _, query = head.target.partition("?")
    derived = {"@method": head.method, "@path": path, "@query": f"?{query}"}
    return {name: derived[name] if name in derived else head.headers[name].strip() for name in covered}


def _bytes(value: bytes) -> str:
    """A byte sequence in a structured field (RFC 8941, section 3.3.5)."""
    return f":{base64.b64encode(value).decode()}:"
