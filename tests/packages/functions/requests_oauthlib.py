import requests
from requests_oauthlib import OAuth1, OAuth2Session


def call() -> object:
    """Sign a request with OAuth 1, and build the address of OAuth 2's login."""
    auth = OAuth1("key", "secret", "token", "token secret", nonce="n", timestamp="1")
    signed = requests.Request("GET", "http://example.org/a?b=1", auth=auth).prepare()
    address, state = OAuth2Session("client", redirect_uri="https://x.example/back").authorization_url(
        "https://x.example/auth", state="s"
    )
    authorization = signed.headers["Authorization"]
    return authorization if isinstance(authorization, str) else authorization.decode(), address, state
