import httpcore


def call() -> object:
    """Get an answer over a connection that is in memory."""
    answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"]
    with httpcore.ConnectionPool(network_backend=httpcore.MockBackend(answer)) as pool:
        response = pool.request("GET", "http://example.org/")
    return response.status, response.content.decode()
