from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1.type import namedtype, univ


class Pair(univ.Sequence):
    componentType = namedtype.NamedTypes(  # noqa: N815
        namedtype.NamedType("id", univ.Integer()), namedtype.NamedType("data", univ.OctetString())
    )


def call() -> object:
    """Encode a sequence in DER and decode it."""
    pair = Pair()
    pair["id"], pair["data"] = 1234, b"ab"
    encoded = encode(pair)
    decoded, rest = decode(encoded, asn1Spec=Pair())
    return encoded.hex(), int(decoded["id"]), bytes(decoded["data"]).decode(), rest.hex()
