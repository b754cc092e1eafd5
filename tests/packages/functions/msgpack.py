import msgpack


def call() -> object:
    """Pack and unpack values with an extension type and a timestamp."""
    packed = msgpack.packb(
        {"a": [1, -2, 1.5, None, b"x", "ü"], "t": msgpack.Timestamp(5), "e": msgpack.ExtType(7, b"z")}
    )
    unpacker = msgpack.Unpacker()
    unpacker.feed(packed + msgpack.packb(2**40))
    first, second = unpacker
    return packed.hex(), first["a"][3:4], first["t"].to_unix(), first["e"].code, second
