from multidict import CIMultiDict


def call() -> object:
    """Keep several values of a header, without regard to case."""
    headers = CIMultiDict([("Set-Cookie", "a=1"), ("set-cookie", "b=2")])
    headers.add("Accept", "*/*")
    return headers.getall("SET-COOKIE"), headers["accept"], list(headers), len(headers)
