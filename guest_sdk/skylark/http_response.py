"""The head of an HTTP/1 response."""

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from skylark.http_answers import BODILESS, Answer

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


def response_head(answer: Answer, connection: str, date_s: float | None = None) -> bytes:
    """The bytes before an answer's body.

    Args:
        connection: What to say in `Connection`; nothing if empty.
        date_s: The time for `Date`, in seconds since the epoch; None: now.
    """
    date = _date(int(time.time() if date_s is None else date_s))
    lines = [f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Other')}", f"Date: {date}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.status not in BODILESS:
        lines.append(f"Content-Length: {len(answer.body)}")
    if connection:
        lines.append(f"Connection: {connection}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)
