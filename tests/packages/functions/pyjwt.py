import jwt

KEY = "a key of the thirty-two bytes that HS256 asks for"


def call() -> object:
    """Sign a token with HS256, check it, and refuse a wrong key."""
    token = jwt.encode({"sub": "sat1", "exp": 4_000_000_000}, KEY, algorithm="HS256")
    try:
        jwt.decode(token, KEY[::-1], algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        refused = str(error)
    return token, jwt.decode(token, KEY, algorithms=["HS256"]), refused
