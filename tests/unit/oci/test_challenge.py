"""What credentials a registry wants is read from its header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_oci.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ('Basic realm="Registry"', Challenge("basic", {"realm": "Registry"})),
        (
            'Bearer realm="https://auth.example/token?a=1",service="registry.example",scope="repository:a/b:pull,push"',
            Challenge(
                "bearer",
                {
                    "realm": "https://auth.example/token?a=1",
                    "service": "registry.example",
                    "scope": "repository:a/b:pull,push",
                },
            ),
        ),
        ('BEARER Realm = "x" , Service=plain', Challenge("bearer", {"realm": "x", "service": "plain"})),
        (r'Basic realm="a \"quoted\" \\ one"', Challenge("basic", {"realm": r'a "quoted" \ one'})),
        ("Negotiate", Challenge("negotiate", {})),
        ('Basic realm="a", Bearer realm="b"', Challenge("basic", {"realm": "a"})),
        ("", None),
        ('="x"', None),
    ],
)
def test_a_challenge_is_read(header: str, challenge: Challenge | None) -> None:
    """Scheme and parameters, in any case, quoted or not; of several challenges the first."""
    assert next(iter(parse_challenges(header)), None) == challenge


@given(st.text(max_size=100) | st.text('Bearer ="\\,x', max_size=60))
def test_any_header_is_read_or_none(header: str) -> None:
    """A registry can send what it likes."""
    challenge = next(iter(parse_challenges(header)), None)
    assert challenge is None or challenge.scheme == challenge.scheme.lower()
