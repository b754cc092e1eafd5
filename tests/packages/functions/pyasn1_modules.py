from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_modules import rfc2459


def call() -> object:
    """Encode the name of a certificate's subject, and decode it."""
    attribute = rfc2459.AttributeTypeAndValue()
    attribute["type"], attribute["value"] = (
        rfc2459.id_at_commonName,
        encode(rfc2459.X520name().setComponentByName("utf8String", "sat1")),
    )
    decoded, _ = decode(encode(attribute), asn1Spec=rfc2459.AttributeTypeAndValue())
    return str(decoded["type"]), bytes(decoded["value"]).hex()
