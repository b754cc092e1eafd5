import httplib2


def call() -> object:
    """Split an address, and read a made response."""
    response = httplib2.Response({"status": "200", "content-type": "text/plain"})
    return (
        list(httplib2.urlnorm("HTTP://Example.org/a?b=1"))[:3],
        response.status,
        httplib2.iri2uri("http://bücher.example/ü"),
    )
