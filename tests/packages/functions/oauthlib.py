from oauthlib.oauth1 import Client
from oauthlib.oauth2 import BackendApplicationClient


def call() -> object:
    """Sign a request with OAuth 1, and read a token of OAuth 2."""
    address, headers, _ = Client("key", "secret", nonce="n", timestamp="1").sign("http://example.org/a?b=1")
    client = BackendApplicationClient("id")
    token = client.parse_request_body_response('{"access_token": "t", "token_type": "Bearer", "scope": "a b"}')
    return (
        address,
        headers["Authorization"],
        client.prepare_request_body(scope="a"),
        token["access_token"],
        sorted(token.scopes),
    )
