import httpx


def call() -> object:
    """Join a URL with parameters, and get an answer through a transport without a network."""
    url = httpx.URL("http://example.org/a/").join("b?x=1").copy_merge_params({"q": "ü"})
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"path": request.url.path}))
    with httpx.Client(transport=transport) as client:
        return str(url), client.get(url).json()
