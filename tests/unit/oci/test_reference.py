"""References are read part by part, and what is wrong in one is named."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylark_oci.errors import InvalidReference
from skylark_oci.reference import Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("registry.example/app", Reference("registry.example", "app", "latest")),
        ("registry.example/team/app:1.0", Reference("registry.example", "team/app", "1.0")),
        ("oci://registry.example/app:1.0", Reference("registry.example", "app", "1.0")),
        ("localhost/app", Reference("localhost", "app", "latest")),
        ("localhost:5000/a/b/c:x_Y.z-1", Reference("localhost:5000", "a/b/c", "x_Y.z-1")),
        ("127.0.0.1:5000/app", Reference("127.0.0.1:5000", "app", "latest")),
        ("[::1]:5000/app:1", Reference("[::1]:5000", "app", "1")),
        (f"registry.example/app@{DIGEST}", Reference("registry.example", "app", None, DIGEST)),
        (f"oci://registry.example/app:1@{DIGEST}", Reference("registry.example", "app", "1", DIGEST)),
        ("registry.example/a__b/c.d/e-f--g", Reference("registry.example", "a__b/c.d/e-f--g", "latest")),
    ],
)
def test_a_reference_is_read(text: str, reference: Reference) -> None:
    """Scheme, port, tag and digest may be missing; without tag and digest the tag is `latest`."""
    assert Reference.parse(text) == reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "host/path"),
        ("app", "host/path"),
        ("team/app:1.0", "host/path"),
        ("registry.example", "host/path"),
        ("registry.example/", "host/path"),
        ("https://registry.example/app", "host/path"),
        ("-registry.example/app", "host/path"),
        ("user@registry.example/app", "a digest"),
        ("registry.example:0/app", "a port of 1 to 65535, not 0"),
        ("registry.example:65536/app", "a port of 1 to 65535, not 65536"),
        ("registry.example:http/app", "host/path"),
        ("registry.example/App", "a path of a-z"),
        ("registry.example/a//b", "a path of a-z"),
        ("registry.example/a/", "a path of a-z"),
        ("registry.example/../a", "a path of a-z"),
        ("registry.example/a___b", "a path of a-z"),
        ("registry.example/" + "a" * 250, "255 at most"),
        ("registry.example/app:", "a tag of 1 to 128"),
        ("registry.example/app:.1", "a tag of 1 to 128"),
        ("registry.example/app:1/2", "a tag of 1 to 128"),
        ("registry.example/app:" + "x" * 129, "a tag of 1 to 128"),
        ("registry.example/app@", "a digest sha256:"),
        ("registry.example/app@sha256:12", "a digest sha256:"),
        ("registry.example/app@sha512:" + "0" * 128, "a digest sha256:"),
        (f"registry.example/app@{DIGEST.upper()}", "a digest sha256:"),
        (" registry.example/app", "host/path"),
        ("registry.example/app\n", "a path of a-z"),
    ],
)
def test_what_is_wrong_is_named(text: str, expected: str) -> None:
    """The error shows the reference and says which part is wrong."""
    with pytest.raises(InvalidReference) as raised:
        Reference.parse(text)
    assert expected in raised.value.message
    assert repr(text) in raised.value.message


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.8.9.1:5000", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("10.0.0.7:5000", False),
        ("localhost.example", False),
        ("127.0.0.1.example:80", False),
        ("registry.example", False),
    ],
)
def test_which_registries_are_on_this_machine(host: str, loopback: bool) -> None:
    """Only these may be talked to without TLS unasked."""
    assert Reference(host, "app").loopback is loopback


def test_a_digest_wins_over_a_tag() -> None:
    """What is pinned means one content, whatever its tag means now."""
    pinned = Reference.parse("registry.example/app:1.0").pinned(DIGEST)
    assert (pinned.target, str(pinned)) == (DIGEST, f"registry.example/app:1.0@{DIGEST}")
    assert pinned.tagged("2.0") == Reference("registry.example", "app", "2.0")


WORDS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
HOSTS = st.builds("{}.{}{}".format, WORDS, WORDS, st.sampled_from(["", ":1", ":5000", ":65535"]))
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(
    st.builds(
        Reference,
        HOSTS,
        st.lists(WORDS, min_size=1, max_size=4).map("/".join),
        TAGS,
        st.none() | st.binary(min_size=32, max_size=32).map(lambda content: f"sha256:{content.hex()}"),
    )
)
def test_a_reference_is_read_as_it_was_written(reference: Reference) -> None:
    """Text and reference are two forms of the same, with and without the scheme."""
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(f"oci://{reference}") == reference


@given(st.text(max_size=80) | st.text("a.:/@[]0", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes it crash; what it takes, it writes in the same way again."""
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return
    assert Reference.parse(str(reference)) == reference
