"""Topologies that take turns, as satellites pass over a ground station."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.nodeinfo.provider import Latest, Provider, turn_at
from skylark_proxy.topology import Topology

MIN_INTERVAL_S, MAX_INTERVAL_S = 0.05, 86_400.0
INTERVAL_EXPECTED = f"a number of seconds from {MIN_INTERVAL_S} to {MAX_INTERVAL_S:.0f}"


@dataclass(frozen=True, slots=True)
class Rotation:
    """Topologies, each of which holds for `interval_s`; after the last one comes the first."""

    interval_s: float
    topologies: tuple[Topology, ...]


class RotatingTopology(Provider):
    """The topologies of a rotation file, one after the other.

    Turns are counted from the epoch, so that services that have the same file and clock agree, until one is told to
    `refresh`, which takes the next turn at once.
    """

    def __init__(self, path: Path, interval_s: float | None = None) -> None:
        """Reads the file; `interval_s` stands for the file's own, if given; infinite: only `refresh` takes a turn.

        Raises:
            InvalidArgument: The file cannot be read or is not a rotation; the error names the file and the field.
        """
        self._path = path
        self._interval_s = interval_s
        self._read = load_rotation(path, interval_s)
        self._advanced = 0
        self._latest = Latest()

    def current(self, at_s: float) -> Topology:
        """The topology whose turn it is."""
        rotation, turn = self._read, self._turn(at_s)
        return self._latest.made_of((rotation, turn), lambda epoch: replace(_taking(rotation, turn), epoch=epoch))

    def upcoming(self, at_s: float) -> Topology:
        """The topology whose turn is next."""
        return _taking(self._read, self._turn(at_s) + 1)

    def next_change_s(self, at_s: float) -> float:
        """When the turn ends."""
        interval_s = self._read.interval_s
        return (turn_at(at_s, interval_s) + 1) * interval_s

    def rotation(self, at_s: float) -> Sequence[Topology]:
        """The topologies in the order of the file."""
        return self._read.topologies

    def refresh(self) -> None:
        """Reads the file again and takes the next turn."""
        self._read = load_rotation(self._path, self._interval_s)
        self._advanced += 1

    def _turn(self, at_s: float) -> int:
        return turn_at(at_s, self._read.interval_s) + self._advanced


def load_rotation(path: Path, interval_s: float | None = None) -> Rotation:
    """Reads `{"interval_s": s, "topologies": [topology]}`, with topologies as `Topology.parse` reads them.

    Raises:
        InvalidArgument: It cannot be read or is not a rotation; the error names the file and the field.
    """
    try:
        read = msgspec.json.decode(path.read_bytes(), type=_RotationJson)
    except OSError as error:
        raise InvalidArgument("topology file", str(path), f"a file that can be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        expected = '{"interval_s": seconds, "topologies": [topology, …]}'
        raise InvalidArgument(f"{path}", str(error), expected) from error
    interval_s = read.interval_s if interval_s is None else interval_s
    if not (MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S or interval_s == math.inf):
        raise InvalidArgument(f"{path}: interval_s", interval_s, INTERVAL_EXPECTED)
    if not read.topologies:
        raise InvalidArgument(f"{path}: topologies", [], "at least one topology")
    return Rotation(interval_s, tuple(_parse(path, index, raw) for index, raw in enumerate(read.topologies)))


class _RotationJson(msgspec.Struct, forbid_unknown_fields=True):
    interval_s: float
    topologies: list[msgspec.Raw]


def _parse(path: Path, index: int, raw: msgspec.Raw) -> Topology:
    try:
        return Topology.parse(bytes(raw), epoch=1)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: topologies[{index}].{error.field}", error.value, error.expected) from error


def _taking(rotation: Rotation, turn: int) -> Topology:
    return rotation.topologies[turn % len(rotation.topologies)]
