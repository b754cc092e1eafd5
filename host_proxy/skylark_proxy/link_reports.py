"""Reports what a node measured of its links to the node-info service, in the background."""

import logging
from threading import Event, Thread
from urllib.parse import urlsplit

import msgspec
from urllib3.exceptions import HTTPError

from skylark_proxy.connections import open_pool
from skylark_proxy.link_meter import LinkEstimate, LinkMeter
from skylark_proxy.signatures import Signer
from skylark_proxy.signed_requests import SignedRequests
from skylark_proxy.tls import TlsFiles

_LOG = logging.getLogger(__name__)
_INTERVAL_S = 5.0
_TIMEOUT_S = 5.0


class LinkReporter:
    """Every 5 s, a thread reports the links that had exchanges since; each at most once. What fails is not repeated:
    the next report of a link has the smoothed values again.

    Args:
        url: The node-info service's.
        node: The name of the local node.
        signer: Signs the reports; None: the nodes share no key.
        tls: For a service that speaks TLS.
    """

    def __init__(
        self,
        url: str,
        node: str,
        meter: LinkMeter,
        interval_s: float = _INTERVAL_S,
        signer: Signer | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._base, self._target = f"{parts.scheme}://{parts.netloc}", f"{parts.path}/measurements"
        self._node = node
        self._meter = meter
        self._interval_s = interval_s
        self._pool = open_pool(tls or TlsFiles(), maxsize=1, timeout=_TIMEOUT_S, retries=False)
        self._requests = SignedRequests(self._pool, signer)
        self._closing = Event()
        self._thread = Thread(target=self._run, name="link-reports", daemon=True)

    def open(self) -> None:
        """Begins to report."""
        self._thread.start()

    def close(self) -> None:
        """Stops reporting. The thread ends with the answer that it waits for, or with the process."""
        self._closing.set()
        self._pool.clear()

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            for estimate in self._meter.take_fresh():
                if self._closing.is_set() or not self._report(estimate):
                    break

    def _report(self, estimate: LinkEstimate) -> bool:
        """True if the service could be reached."""
        estimates = {
            "source": self._node,
            "target": estimate.node,
            "latency_ms": estimate.latency_ms,
            "bandwidth_mbps": estimate.bandwidth_mbps,
            "at_s": estimate.at_s,
        }
        body = msgspec.json.encode(estimates)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        try:
            answer = self._requests.send(self._base, "POST", self._target, headers, [body])
            text = answer.data[:200].decode(errors="replace")
        except HTTPError as error:
            _LOG.debug("links are not reported: %s", error)
            return False
        if answer.status >= 300:
            _LOG.info("the link to %s is not reported: %s", estimate.node, text)
        return True
