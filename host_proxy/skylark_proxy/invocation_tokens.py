"""Verifies the tokens of functions that run outside the proxy; see `skylark.invocation_token`."""

import hmac
import re
from dataclasses import dataclass

from skylark.invocation_token import LIFETIME_S, NAME, Credential, prove
from skylark_proxy.errors import Unauthorized

_TOKEN = re.compile(rf"({NAME})~(own|any)~({NAME})~({NAME})~([0-9]{{1,12}})~([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True)
class InvocationToken:
    """What a valid token says: an invocation of a function, in a task of a chain."""

    function: str
    chains: str
    chain_id: str
    task_id: str

    def may_touch(self, chain_id: str) -> bool:
        """True if the invocation may read and change the bundles of a chain."""
        return self.chains == "any" or chain_id == self.chain_id


def verify_token(key: bytes, text: str, now_s: float, max_skew_s: float) -> InvocationToken:
    """Return what a token says.

    Args:
        key: The nodes' key.
        max_skew_s: How far the function's time may be from that of this node.

    Raises:
        Unauthorized: It is not valid, or no longer, or not so early.
    """
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise Unauthorized("its token is not of the form NAME~CHAINS~CHAIN~TASK~EXPIRES~PROOF")
    name, chains, chain_id, task_id, expires, proof = match.groups()
    expected = prove(Credential.make(key, name, chains).secret, chain_id, task_id, int(expires))
    if not hmac.compare_digest(expected, proof):
        raise Unauthorized("its token is wrong: it was made with another key, or was changed")
    if not -max_skew_s <= int(expires) - now_s <= LIFETIME_S + max_skew_s:
        raise Unauthorized(f"its token expires {int(expires) - now_s:.0f} s from now; compare the clocks")
    return InvocationToken(name, chains, chain_id, task_id)
