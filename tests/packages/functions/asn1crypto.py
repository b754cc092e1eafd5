from asn1crypto import core, x509


def call() -> object:
    """Write a name of a certificate in DER, and read it."""
    name = x509.Name.build({"common_name": "sat1", "country_name": "DE"})
    read = x509.Name.load(name.dump())
    return name.dump().hex(), read.native, core.Integer(300).dump().hex(), read.human_friendly
