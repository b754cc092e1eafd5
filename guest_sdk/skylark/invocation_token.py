"""Tokens by which a function that runs outside the proxy proves to it which chain an invocation is of.

A function has a credential, `NAME~CHAINS~SECRET`, which was made with the nodes' key. For each request of an invocation
it makes a token, `NAME~CHAINS~CHAIN~TASK~EXPIRES~PROOF`. The secret is a MAC over name and chains, and the proof is one
over the rest with the secret as its key, so a node with the key verifies both and has to remember nothing.
"""

import hmac
import re
from dataclasses import dataclass

NAME = "[A-Za-z0-9._-]{1,128}"
LIFETIME_S = 120
"""How long a token is good. Each request has a new one, so this is for clocks and slow links."""

_CREDENTIAL = re.compile(rf"({NAME})~(own|any)~([0-9a-f]{{64}})")


@dataclass(frozen=True)
class Credential:
    """What a function was given.

    Attributes:
        name: The function's, as the operator calls it.
        chains: `own`: each invocation may touch the bundles of its own chain; `any`: those of all chains.
    """

    name: str
    chains: str
    secret: bytes

    @classmethod
    def parse(cls, text: str) -> "Credential":
        """Read a credential.

        Raises:
            ValueError: It is none. The text of the error does not show it.
        """
        match = _CREDENTIAL.fullmatch(text)
        if match is None:
            raise ValueError("this is no credential of a function: NAME~own~SECRET or NAME~any~SECRET")
        return cls(match[1], match[2], bytes.fromhex(match[3]))

    @classmethod
    def make(cls, key: bytes, name: str, chains: str) -> "Credential":
        """Make the credential of a function with the nodes' key."""
        return cls(name, chains, hmac.digest(key, f"skylark function\n{name}\n{chains}".encode(), "sha256"))

    def __str__(self) -> str:
        return f"{self.name}~{self.chains}~{self.secret.hex()}"

    def token(self, chain_id: str, task_id: str, now_s: float) -> str:
        """Make the token of a request."""
        expires_s = int(now_s) + LIFETIME_S
        proof = prove(self.secret, chain_id, task_id, expires_s)
        return f"{self.name}~{self.chains}~{chain_id}~{task_id}~{expires_s}~{proof}"


def prove(secret: bytes, chain_id: str, task_id: str, expires_s: int) -> str:
    """Return the proof in a token."""
    return hmac.digest(secret, f"skylark invocation\n{chain_id}\n{task_id}\n{expires_s}".encode(), "sha256").hex()
