from websocket import ABNF
from websocket._url import parse_url


def call() -> object:
    """Write a masked frame and parse an address, without a socket."""
    frame = ABNF.create_frame("hello", ABNF.OPCODE_TEXT)
    frame.get_mask_key = lambda count: b"\x01" * count
    return frame.format().hex(), ABNF.mask(b"abcd", b"hello").hex(), list(parse_url("ws://example.org:8080/chat?x=1"))
