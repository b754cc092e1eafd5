from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def call() -> object:
    """Accept a handshake and read a masked frame, without a socket."""
    server = ServerProtocol()
    server.receive_data(HANDSHAKE)
    (request,) = server.events_received()
    response = server.accept(request)
    server.send_response(response)
    server.receive_data(Frame(Opcode.TEXT, b"hello").serialize(mask=True))
    (frame,) = server.events_received()
    return (
        response.status_code,
        response.headers["Sec-WebSocket-Accept"],
        bytes(frame.data).decode(),
        type(request) is Request,
    )
