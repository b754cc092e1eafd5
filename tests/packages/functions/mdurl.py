import mdurl


def call() -> object:
    """Parse and encode a URL as Markdown has it."""
    return mdurl.parse("http://a.example:80/x?y#z")._asdict(), mdurl.encode("/ü b%20c"), mdurl.decode("%C3%BC")
