"""To whom credentials are given, and how what a registry says is shown."""

import contextlib
from collections.abc import Iterator

import pytest
import urllib3

from skylark_oci.challenge import Challenge
from skylark_oci.credentials import Credentials
from skylark_oci.errors import AccessDenied
from skylark_oci.reference import Reference
from skylark_oci.transport import Transport


def alice(_host: str, _repository: str) -> tuple[Credentials, str]:
    return Credentials("alice", "open sesame"), "auth.json"


@pytest.fixture
def transport() -> Iterator[Transport]:
    with contextlib.closing(Transport(Reference("registry.example", "app", "1.0"), "pull", False, alice)) as opened:
        yield opened


@pytest.mark.parametrize("realm", ["http://auth.example/token", "", "ftp://auth.example", "/token"])
def test_no_password_goes_out_without_tls(transport: Transport, realm: str) -> None:
    """A registry with TLS that wants the password sent somewhere without it is refused."""
    with pytest.raises(AccessDenied, match=r"wants credentials sent to .*, without TLS") as raised:
        transport._authorize(Challenge("bearer", {"realm": realm}), "app")
    assert "sesame" not in raised.value.message


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/v2/app/blobs/uploads/1?_state=x", "https://registry.example/v2/app/blobs/uploads/1?_state=x"),
        ("https://registry.example/up/1", "https://registry.example/up/1"),
        ("http://registry.example/up/1", "https://registry.example/up/1"),
        ("https://storage.example/up/1", "https://storage.example/up/1"),
        ("1", "https://registry.example/v2/app/blobs/uploads/1"),
    ],
)
def test_where_a_location_leads(transport: Transport, location: str, place: str) -> None:
    """Relative or whole; a registry that does not know of its own TLS is not followed out of it."""
    response = urllib3.HTTPResponse(headers={"Location": location}, status=202)
    assert transport.located(response, transport.url("blobs/uploads/")) == place


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("https://registry.example/v2/app", True),
        ("https://registry.example.evil/v2/app", False),
        ("https://registry.example:444/v2/app", False),
        ("http://registry.example/v2/app", False),
        ("https://registry.example@evil/v2/app", False),
    ],
)
def test_which_requests_get_credentials(transport: Transport, url: str, ours: bool) -> None:
    """Only those to the very registry, by the very scheme."""
    assert transport._is_ours(url) is ours


def test_docker_hub_has_another_address() -> None:
    """The registry of `docker.io` is at a host of another name."""
    with contextlib.closing(Transport(Reference("docker.io", "team/app", "1"), "pull")) as hub:
        assert hub.url("manifests/1") == "https://registry-1.docker.io/v2/team/app/manifests/1"
