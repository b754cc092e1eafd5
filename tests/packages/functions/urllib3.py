from urllib3.filepost import encode_multipart_formdata
from urllib3.util import Retry, Timeout, parse_url


def call() -> object:
    """Parse a URL, encode a form with a file, and compute a retry's pause."""
    url = parse_url("HTTP://user@Example.COM:8080/a b/../c?x=1#f")
    form, content_type = encode_multipart_formdata({"file": ("a.txt", b"hello", "text/plain")}, boundary="b")
    pause = Retry(total=3, backoff_factor=0.5).increment(error=OSError()).increment(error=OSError()).get_backoff_time()
    return url.url, form.decode(), content_type, pause, Timeout(total=3).connect_timeout
