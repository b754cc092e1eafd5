"""Signatures of requests between proxies: HTTP Message Signatures with a key that all nodes share.

The headers are those of RFC 9421 (`Signature-Input`, `Signature`; algorithm `hmac-sha256`, section 3.3.3) and of
RFC 9530 (`Content-Digest` with `sha-256`), in one fixed profile:

- one signature, labelled `skylark`; its `keyid` is the node that sends;
- it covers `@method`, `@path`, `@query`, `content-digest`, and every header of the request that changes what it does:
  `If-Match`, `If-None-Match` and all `Skylark-…`, those that are there in the order of their names, no others. So
  neither can one be taken away nor one be added;
- `Skylark-Boot` names the receiver's memory of nonces: a random id, which is a new one after each start. So a request
  that was recorded before a restart is refused after it, whatever the clocks say, and is of no use elsewhere;
- `nonce`, 16 random bytes in hexadecimal, makes it good for once; `created`, in whole seconds, bounds how long it may
  be held back on its way;
- the path names the receiving node (`<chain_id>:<node>:<task_id>`), which refuses a key of another one, so that what
  was signed for one node is of no use at another.

Time is an argument everywhere; nothing here does I/O.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from skylark.wire import Buffer
from skylark_proxy.errors import Unauthorized
from skylark_proxy.invocation_tokens import InvocationToken, verify_token
from skylark_proxy.model import NAME_PATTERN

MIN_KEY_BYTES = 32
"""As many as the MAC has: RFC 2104, section 3, advises against less."""

NONCE_BYTES = 16
MAX_NONCES = 1 << 17
"""How many requests one receiver remembers, in 15 MB at most. When half of it is full, it takes a new boot id."""

BOOT = "Skylark-Boot"
"""The header with the boot id: in an answer the receiver's own, in a request the one that the request is signed for."""

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
        boot: The boot id of the receiver that it was signed for; None: none.
    """

    sender: str
    created_s: int
    nonce: bytes
    sha256: bytes
    boot: str | None = None


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

    The nonces are kept by the boot id that they came with, those of the current id and of the one before. No clock
    decides how long: an id is given up together with its nonces, and what was signed for it is refused from then on.

    Args:
        max_skew_s: How far the sender's time may be from that of this node, in either direction.
        max_nonces: How many requests are remembered.
        new_boot: Make a boot id that no other receiver has or had.
    """

    def __init__(
        self,
        key: bytes,
        max_skew_s: float,
        max_nonces: int = MAX_NONCES,
        new_boot: Callable[[], str] = lambda: os.urandom(16).hex(),
    ) -> None:
        self._key = key
        self._max_skew_s = max_skew_s
        self._most = max(1, max_nonces // 2)
        self._new_boot = new_boot
        self.boot = new_boot()
        """The id that requests are to be signed for now."""
        self._seen: dict[str, set[bytes]] = {self.boot: set()}

    def token(self, text: str, now_s: float) -> InvocationToken:
        """Return what a function's token says; see `verify_token`."""
        return verify_token(self._key, text, now_s, self._max_skew_s)

    def verify(self, head: RequestHead, now_s: float) -> Signature:
        """Return what the signature of a request says; its body, which may not have come yet, is still to be compared.

        Raises:
            Unauthorized: There is none, or it is not valid, too old, from the future, was used before, or was made for
                another boot id.
        """
        signature = verify(self._key, head)
        seen = self._seen.get(signature.boot or "")
        if seen is None:
            raise Unauthorized(f"it was not signed for this start of the receiver, which {BOOT} names")
        ahead_s = signature.created_s - now_s
        if abs(ahead_s) > self._max_skew_s:
            raise Unauthorized(
                f"node {signature.sender!r} signed it {abs(ahead_s):.0f} s {'after' if ahead_s > 0 else 'before'} the "
                f"time of this node, {self._max_skew_s:g} s are allowed; compare their clocks",
                ahead_s,
            )
        if signature.nonce in seen:
            raise Unauthorized("it was sent before")
        seen.add(signature.nonce)
        if len(seen) >= self._most:
            self._make_room(signature.boot or "")
        return signature

    def _make_room(self, full: str) -> None:
        """Give up the older id: a new one takes over from a full current id."""
        if full == self.boot:
            self.boot = self._new_boot()
            self._seen = {full: self._seen[full], self.boot: set()}
        else:
            del self._seen[full]


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
        sender=parsed["sender"],
        created_s=int(parsed["created"]),
        nonce=bytes.fromhex(parsed["nonce"]),
        sha256=binascii.a2b_base64(digest[1]),
        boot=head.headers.get(BOOT.lower()),
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
