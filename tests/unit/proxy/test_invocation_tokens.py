"""Tokens of invocations: what they say, for how long, and what cannot be changed."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from skylark.invocation_token import LIFETIME_S, Credential
from skylark_proxy.errors import Unauthorized
from skylark_proxy.invocation_tokens import InvocationToken, verify_token

KEY = b"k" * 32
NOW_S = 1_760_000_000.0
CREDENTIAL = Credential.make(KEY, "detect", "own")
TOKEN = CREDENTIAL.token("chain-7", "task.1", NOW_S)


class TestTokens:
    def test_what_a_token_says(self) -> None:
        """A valid token names the function, its right, and the chain and task of the invocation."""
        token = verify_token(KEY, TOKEN, NOW_S, 300)
        assert token == InvocationToken("detect", "own", "chain-7", "task.1")
        assert token.may_touch("chain-7") and not token.may_touch("chain-70") and not token.may_touch("")
        everything = verify_token(KEY, Credential.make(KEY, "f", "any").token("c", "t", NOW_S), NOW_S, 0)
        assert everything.may_touch("c") and everything.may_touch("other")

    @given(at=st.integers(0, len(TOKEN) - 1), character=st.sampled_from("0aAz~._- \n\u00e9"))
    def test_a_change(self, at: int, character: str) -> None:
        """No character of a token can be changed, and none can be taken away or added."""
        assume(TOKEN[at] != character)
        for changed in (TOKEN[:at] + character + TOKEN[at + 1 :], TOKEN[:at] + TOKEN[at + 1 :], TOKEN + character):
            with pytest.raises(Unauthorized):
                verify_token(KEY, changed, NOW_S, 300)

    def test_another_key(self) -> None:
        """A credential that was made with another key makes no valid token."""
        with pytest.raises(Unauthorized, match="another key"):
            verify_token(b"x" * 32, TOKEN, NOW_S, 300)

    def test_a_token_does_not_tell_its_secret(self) -> None:
        """Nothing of the credential's secret is in a token."""
        assert CREDENTIAL.secret.hex() not in TOKEN and CREDENTIAL.secret.hex() in str(CREDENTIAL)

    @pytest.mark.parametrize(
        ("later_s", "valid"),
        [(0, True), (LIFETIME_S, True), (LIFETIME_S + 10, True), (LIFETIME_S + 11, False), (-10, True), (-11, False)],
    )
    def test_its_time(self, later_s: float, valid: bool) -> None:
        """It is good for its lifetime and the skew of the clocks, and no token is good for longer."""
        if valid:
            verify_token(KEY, TOKEN, NOW_S + later_s, 10)
        else:
            with pytest.raises(Unauthorized, match="compare the clocks"):
                verify_token(KEY, TOKEN, NOW_S + later_s, 10)


class TestCredentials:
    def test_reading(self) -> None:
        """A credential is read as it was written."""
        assert Credential.parse(str(CREDENTIAL)) == CREDENTIAL

    @pytest.mark.parametrize("text", ["", "detect", "detect~own~00", f"detect~all~{'0' * 64}", f"a b~own~{'0' * 64}"])
    def test_other_texts(self, text: str) -> None:
        """What is none is refused, without being shown."""
        with pytest.raises(ValueError, match="no credential") as caught:
            Credential.parse(text)
        assert not text or text not in str(caught.value)

    def test_names_and_rights_differ(self) -> None:
        """Each name, right and key has a secret of its own."""
        made = {
            Credential.make(key, name, chains).secret
            for key in (KEY, b"x" * 32)
            for name in "ab"
            for chains in ("own", "any")
        }
        assert len(made) == 8
