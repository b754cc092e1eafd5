from yarl import URL


def call() -> object:
    """Build, join and quote a URL."""
    url = URL("http://bücher.example/a/") / "b c" % {"q": "ü&x"}
    return str(url), url.host, url.query["q"], str(url.with_port(81).join(URL("../z"))), url.parts
