from itsdangerous import BadSignature, URLSafeSerializer


def call() -> object:
    """Sign a value, load it, and refuse a changed one."""
    serializer = URLSafeSerializer("secret", salt="a")
    signed = serializer.dumps({"id": 5, "text": "x" * 50})
    try:
        serializer.loads(signed[:-1] + ("A" if signed[-1] != "A" else "B"))
    except BadSignature as error:
        refused = type(error).__name__
    return signed, serializer.loads(signed), refused
