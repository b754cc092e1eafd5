import httpx
from httpx_sse import EventSource


def call() -> object:
    """Read events of a response."""
    text = "event: a\ndata: 1\ndata: 2\nid: 7\n\ndata: {}\n\n"
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, text=text)
    return [[one.event, one.data, one.id] for one in EventSource(response).iter_sse()]
