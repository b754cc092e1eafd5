from werkzeug.datastructures import Headers
from werkzeug.http import parse_accept_header, parse_options_header
from werkzeug.routing import Map, Rule
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response


def call() -> object:
    """Match and build addresses, parse headers, and answer a request without a server."""
    routes = Map([Rule("/nodes/<int:number>", endpoint="node")]).bind("example.org")
    client = Client(Request.application(lambda request: Response(request.args["q"], status=201)))
    answer = client.get("/?q=1")
    kinds = parse_accept_header("text/html;q=0.5, application/json")
    return (
        [*routes.match("/nodes/7")],
        routes.build("node", {"number": 8}),
        [answer.status_code, answer.text],
        [*kinds.values()],
        parse_options_header('form-data; name="a"'),
        Headers({"A": "1"}).get("a"),
    )
