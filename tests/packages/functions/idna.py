import idna


def call() -> object:
    """Encode a domain name, decode it again, and refuse a wrong one."""
    encoded = idna.encode("bücher.straße.example", uts46=True)
    try:
        idna.encode("a..b")
    except idna.IDNAError as error:
        refused = str(error)
    return encoded.decode(), idna.decode(encoded), refused
