from requests_toolbelt import MultipartDecoder, MultipartEncoder


def dict_of(headers) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers.items()}


def call() -> object:
    """Encode a form as a stream, and decode it."""
    encoder = MultipartEncoder({"a": "1", "f": ("x.txt", b"hello", "text/plain")}, boundary="b")
    parts = MultipartDecoder(encoder.to_string(), encoder.content_type).parts
    return encoder.content_type, [part.text for part in parts], [dict_of(part.headers) for part in parts]
