import requests


def call() -> object:
    """Prepare a request with parameters, JSON and a login, and read a made response."""
    request = requests.Request(
        "POST", "http://node.example/items", params={"q": ["a", "ü"]}, json={"n": 1}, auth=("user", "secret")
    )
    prepared = requests.Session().prepare_request(request)
    response = requests.Response()
    response.status_code, response._content, response.encoding = 404, b'{"error": "none"}', "utf-8"
    return prepared.url, prepared.headers["Authorization"], prepared.body.decode(), response.ok, response.json()
