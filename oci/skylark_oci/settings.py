"""How registries are talked to."""

from collections.abc import Collection
from dataclasses import dataclass

from skylark_oci.credentials import find_credentials
from skylark_oci.reference import Reference
from skylark_oci.transport import Finder


@dataclass(frozen=True, slots=True)
class Retries:
    """How often something is tried, and how long it is waited in between: `first_s`, then twice that, and so on.

    A registry that names a time of its own (`Retry-After`) is left alone for that long, up to `limit_s`.
    """

    attempts: int = 5
    first_s: float = 0.5
    limit_s: float = 30.0

    def pause_s(self, failures: int, asked_s: float | None) -> float:
        """How long to wait after so many failures."""
        return min(self.limit_s, asked_s if asked_s is not None else self.first_s * 2.0 ** (failures - 1))


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How registries are talked to. `plain_http` names the hosts (with their ports) that are without TLS."""

    plain_http: Collection[str] = ()
    credentials: Finder = find_credentials
    retries: Retries = Retries()

    def is_plain(self, reference: Reference) -> bool:
        """Whether the registry of a reference is talked to without TLS; those on this machine are, as by Docker."""
        return reference.loopback or reference.host in self.plain_http
