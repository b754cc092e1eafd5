import h11


def call() -> object:
    """Parse a chunked request, and write the response."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    request, data, end = (server.next_event() for _ in range(3))
    sent = server.send(h11.Response(status_code=200, headers=[("content-length", "2")])) + server.send(h11.Data(b"ok"))
    return request.target.decode(), bytes(data.data).decode(), type(end).__name__, sent.decode()
