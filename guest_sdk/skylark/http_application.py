"""What a server of functions answers, whatever brings the requests: `wasi:http`, or a server of the SDK's own."""

import traceback
from collections.abc import Callable, Collection

from skylark.execution import Execution
from skylark.functions import run_contained
from skylark.http_answers import Answer, Refused, defect, refused
from skylark.http_backend import HttpBackend, parse_url
from skylark.http_routes import Call, Head, Page, body_size, route
from skylark.http_service import Service
from skylark.http_settings import Settings
from skylark.http_transport import Transport

PROXY_TIMEOUT_S = 60.0
"""How long the node's proxy may send nothing."""

Connect = Callable[[str, str, int, float], Transport]
"""Makes a transport to a proxy: its URL, host and port, and how long it may send nothing."""


class Application:
    """The functions of a component behind their routes, in the sandbox, one call at a time.

    Args:
        connect: How to reach the node's proxy.
        functions: The functions that there are.
        code: How the code is run, for the health pages; None: they do not say it.
    """

    def __init__(
        self, settings: Settings, connect: Connect, functions: Collection[str], code: Execution | None = None
    ) -> None:
        self._settings = settings
        self._functions = functions
        transport = connect(settings.proxy_url, *parse_url(settings.proxy_url), PROXY_TIMEOUT_S)
        backend = HttpBackend(settings.proxy_url, transport=transport, credential=settings.credential)
        self._service = Service(backend, settings.node, run_contained, code=code)

    def asked(self, head: Head) -> Call | Page:
        """What a request asks for; its body need not be there yet.

        Raises:
            Refused: There is no such thing, or the body that is announced is too large.
        """
        asked = route(head, self._functions, self._settings.root)
        body_size(head, self._settings.max_body_bytes)
        return asked

    def answer(self, head: Head, asked: Call | Page, body: memoryview) -> Answer:
        """Answers a request, whatever happens; a defect is in the log."""
        try:
            if isinstance(asked, Page):
                return self._service.page(asked, self._functions)
            return self._service.invoke(head, asked, body, self._functions)
        except Refused as refusal:
            return refused(refusal)
        except BaseException:
            traceback.print_exc()
            return defect()
