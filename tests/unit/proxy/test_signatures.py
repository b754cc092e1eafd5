"""Signatures of requests between nodes: what they cover, for how long and how often they are good."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skylark_proxy.errors import Unauthorized
from skylark_proxy.signatures import RequestHead, Signer, Verifier, content_digest, mac, verify

KEY = bytes(range(32))
NOW_S = 1_760_000_000.0
NONCE = bytes(range(100, 116))
TARGET = "/bundles/c%3Acloud%3At?scope=local&ttl_ms=5"
BOOT_ID = "ab" * 16
HEADERS = {
    "Skylark-Boot": BOOT_ID,
    "Skylark-Origin": "sat",
    "Skylark-Crc32": "1",
    "If-Match": '"3"',
    "Content-Type": "a/b",
}
SIGNED = (
    "skylark-boot",
    "skylark-origin",
    "skylark-crc32",
    "if-match",
    "content-digest",
    "signature",
    "signature-input",
)

text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


def request(
    headers: Mapping[str, str] = HEADERS,
    body: bytes = b"the body",
    *,
    key: bytes = KEY,
    nonce: bytes = NONCE,
    at_s: float = NOW_S,
) -> RequestHead:
    """A signed request as its receiver sees it."""
    signed = Signer(key, "sat").headers("PUT", TARGET, headers, [body[:3], body[3:]], at_s, nonce)
    return RequestHead("PUT", TARGET, {name.lower(): value for name, value in signed.items()})


def verifier_of(max_nonces: int = 1000, *boots: str) -> Verifier:
    """A verifier that takes these boot ids, one after the other."""
    left = iter([*boots, *(f"{number:032x}" for number in range(1000))] if boots else [BOOT_ID])
    return Verifier(KEY, 300, max_nonces, lambda: next(left))


def refusal(head: RequestHead, verifier: Verifier) -> str | None:
    """Why a request is refused; None: it is not."""
    try:
        verifier.verify(head, NOW_S)
    except Unauthorized as error:
        return error.message
    return None


def refused(head: RequestHead, verifier: Verifier, now_s: float = NOW_S) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        verifier.verify(head, now_s)
    return caught.value


class TestForm:
    def test_the_example_of_the_rfc(self) -> None:
        """The MAC is that of RFC 9421, appendix B.2.5."""
        secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
        components = {
            "date": "Tue, 20 Apr 2021 02:07:55 GMT",
            "@authority": "example.com",
            "content-type": "application/json",
        }
        parameters = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
        signature = mac(base64.b64decode(secret), components, parameters)
        assert base64.b64encode(signature) == b"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="

    def test_the_headers(self) -> None:
        """The headers and what is signed are, byte for byte, those that the RFCs describe."""
        digest = base64.b64encode(hashlib.sha256(b"the body").digest()).decode()
        covered = (
            '"@method" "@path" "@query" "content-digest" "if-match" "skylark-boot" "skylark-crc32" "skylark-origin"'
        )
        parameters = f'({covered});created=1760000000;nonce="{NONCE.hex()}";keyid="sat";alg="hmac-sha256"'
        base = "\n".join(
            [
                '"@method": PUT',
                '"@path": /bundles/c%3Acloud%3At',
                '"@query": ?scope=local&ttl_ms=5',
                f'"content-digest": sha-256=:{digest}:',
                '"if-match": "3"',
                f'"skylark-boot": {BOOT_ID}',
                '"skylark-crc32": 1',
                '"skylark-origin": sat',
                f'"@signature-params": {parameters}',
            ]
        )
        headers = request().headers
        assert headers["content-digest"] == f"sha-256=:{digest}:"
        assert headers["signature-input"] == f"skylark={parameters}"
        expected = base64.b64encode(hmac.new(KEY, base.encode(), "sha256").digest()).decode()
        assert headers["signature"] == f"skylark=:{expected}:"
        assert headers["content-type"] == "a/b"

    def test_what_a_signature_says(self) -> None:
        """A valid signature tells the sender, its time, and the digest that the body must have."""
        signature = verify(KEY, request())
        assert (signature.sender, signature.created_s, signature.nonce) == ("sat", 1_760_000_000, NONCE)
        assert signature.sha256 == hashlib.sha256(b"the body").digest()

    def test_a_body_in_parts(self) -> None:
        """The digest is that of all parts together; that of no part is that of the empty body."""
        assert content_digest([b"ab", memoryview(b"cd"), bytearray()]) == content_digest([b"abcd"])
        assert content_digest([]) == content_digest([b""])


class TestChanges:
    @given(method=text, target=text)
    def test_another_method_or_target(self, method: str, target: str) -> None:
        """A signature is good for its method, path and query alone."""
        assume(method != "PUT" and target != TARGET)
        for changed in (replace(request(), method=method), replace(request(), target=target)):
            with pytest.raises(Unauthorized):
                verify(KEY, changed)

    @given(name=st.sampled_from(SIGNED), value=text, data=st.data())
    def test_another_header(self, name: str, value: str, data: st.DataObject) -> None:
        """No header that is signed, or is part of the signature, can be replaced, cut, or changed in one character."""
        head = request()
        was = head.headers[name]
        at = data.draw(st.integers(0, len(was) - 1))
        for changed in (value, was[:at] + was[at + 1 :], was[:at] + chr(ord(was[at]) ^ 1) + was[at + 1 :], was + value):
            if changed.strip() != was:
                with pytest.raises(Unauthorized):
                    verify(KEY, replace(head, headers={**head.headers, name: changed}))

    @pytest.mark.parametrize("name", SIGNED)
    def test_a_header_that_was_taken_away(self, name: str) -> None:
        """A header that was signed must be there."""
        headers = request().headers
        with pytest.raises(Unauthorized):
            verify(KEY, RequestHead("PUT", TARGET, {other: headers[other] for other in headers if other != name}))

    @pytest.mark.parametrize("name", ["skylark-version", "skylark-plan", "skylark-what-comes-later", "if-none-match"])
    def test_a_header_that_was_added(self, name: str) -> None:
        """A header that changes what a request does cannot be added to one that was signed without it."""
        with pytest.raises(Unauthorized, match="not of the form"):
            verify(KEY, replace(request(), headers={**request().headers, name: "1"}))

    def test_headers_that_change_nothing(self) -> None:
        """What software on the way may add or change is not signed."""
        headers = {**request().headers, "content-type": "c/d", "via": "1.1 relay", "user-agent": "x"}
        assert verify(KEY, replace(request(), headers=headers)).sender == "sat"

    @given(key=st.binary(min_size=32, max_size=80))
    def test_another_key(self, key: bytes) -> None:
        """What was signed with another key is refused, and the reason says that this may be why."""
        assume(key != KEY)
        with pytest.raises(Unauthorized, match="another key"):
            verify(KEY, request(key=key))

    def test_a_request_that_is_not_signed(self) -> None:
        """The reason names the headers that are missing."""
        with pytest.raises(Unauthorized, match=r"signature-input, signature, content-digest"):
            verify(KEY, RequestHead("GET", TARGET, {}))


class TestTime:
    @pytest.mark.parametrize("ahead_s", [-300, -120, 0, 120, 300])
    def test_clocks_that_differ(self, ahead_s: float) -> None:
        """A sender whose clock is minutes wrong is understood, as far as the skew allows."""
        assert verifier_of().verify(request(at_s=NOW_S + ahead_s), NOW_S).created_s == NOW_S + ahead_s

    @pytest.mark.parametrize(("ahead_s", "words"), [(-412, "412 s before"), (301, "301 s after")])
    def test_clocks_that_differ_too_much(self, ahead_s: float, words: str) -> None:
        """The reason says whose clock differs by how much and what is allowed; the error has the number."""
        error = refused(request(at_s=NOW_S + ahead_s), verifier_of())
        assert f"node 'sat' signed it {words} the time of this node, 300 s are allowed" in error.message
        assert error.skew_s == ahead_s

    def test_the_clock_of_a_stranger(self) -> None:
        """Nothing of a request is looked at before its signature, so a stranger does not learn the node's time."""
        assert "another key" in refused(request(key=bytes(32), at_s=0), verifier_of()).message


class TestReplays:
    def test_a_request_that_was_sent_before(self) -> None:
        """A request is good for once, as long as its age would be."""
        verifier = verifier_of()
        verifier.verify(request(), NOW_S)
        for later_s in (0, 1, 299, 300):
            assert "sent before" in refused(request(), verifier, NOW_S + later_s).message
        assert "301 s before" in refused(request(), verifier, NOW_S + 301).message

    @pytest.mark.parametrize("step_s", [-86400, -301, 301, 86400])
    def test_a_clock_that_is_set(self, step_s: float) -> None:
        """No step of the receiver's clock, there and back, makes a request good for a second time."""
        verifier = verifier_of()
        verifier.verify(request(), NOW_S)
        verifier.verify(request(nonce=bytes(16), at_s=NOW_S + step_s), NOW_S + step_s)
        assert "sent before" in refused(request(), verifier, NOW_S).message

    def test_a_receiver_that_was_restarted(self) -> None:
        """What was signed for another start of the receiver, or for none, is refused, and the reason says by what."""
        verifier_of().verify(request(), NOW_S)
        assert "Skylark-Boot names" in refused(request(), verifier_of(10, "c" * 32)).message
        without = {name: value for name, value in HEADERS.items() if name != "Skylark-Boot"}
        assert "Skylark-Boot names" in refused(request(without), verifier_of()).message

    def test_the_ids_of_receivers(self) -> None:
        """Every receiver has an id of its own."""
        assert len({Verifier(KEY, 300).boot for _ in range(100)}) == 100

    @given(st.lists(st.integers(0, 30), max_size=80))
    def test_memory_has_a_bound(self, numbers: list[int]) -> None:
        """However many requests come, signed for the id at that time, each is accepted once at most."""
        verifier = verifier_of(8, BOOT_ID)
        recorded: dict[int, RequestHead] = {}
        accepted = set()
        for number in numbers:
            head = recorded.get(number) or request(HEADERS | {"Skylark-Boot": verifier.boot}, nonce=number.to_bytes(16))
            recorded[number] = head
            if refusal(head, verifier) is None:
                assert number not in accepted
                accepted.add(number)
            assert sum(map(len, verifier._seen.values())) <= 8
        assert accepted == set(numbers)

    def test_a_memory_that_is_full(self) -> None:
        """A receiver whose memory is full takes another id; the one before it is still good for what is on its way."""
        verifier = verifier_of(4, BOOT_ID, "c" * 32, "d" * 32)
        for number in range(2):
            verifier.verify(request(nonce=number.to_bytes(16)), NOW_S)
        assert verifier.boot == "c" * 32
        verifier.verify(request(HEADERS | {"Skylark-Boot": "c" * 32}), NOW_S)
        assert "sent before" in refused(request(nonce=bytes(16)), verifier).message
        verifier.verify(request(HEADERS | {"Skylark-Boot": "c" * 32}, nonce=bytes(16)), NOW_S)
        assert verifier.boot == "d" * 32
        assert "Skylark-Boot names" in refused(request(nonce=b"x" * 16), verifier).message

    def test_an_old_id_does_not_fill_the_memory(self) -> None:
        """Requests for the id before count as well: when they are too many, that id is given up."""
        verifier = verifier_of(4, BOOT_ID, "c" * 32)
        verifier.verify(request(nonce=bytes(16)), NOW_S)
        verifier.verify(request(), NOW_S)
        verifier.verify(request(HEADERS | {"Skylark-Boot": "c" * 32}), NOW_S)
        verifier.verify(request(nonce=b"x" * 16), NOW_S)
        assert "Skylark-Boot names" in refused(request(nonce=b"y" * 16), verifier).message
        assert verifier.boot == "c" * 32
