"""The order of runs: variants interleaved, so that what drifts hits all of them alike."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from skylark_testbed.experiments.definition import Case


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an experiment: a variant of a case, for the `repeat`th time (from 0)."""

    case: Case
    variant: str
    repeat: int

    @property
    def id(self) -> str:
        """Names it within its experiment, the same in every process."""
        case = "&".join(f"{name}={value}" for name, value in sorted(self.case.items()))
        return f"{case}&variant={self.variant}&repeat={self.repeat}"


@dataclass(frozen=True, slots=True)
class Round:
    """Runs of which each case and variant has one, over the same topology. `links` names the test bed."""

    links: str | None
    repeat: int
    runs: tuple[Run, ...]


def rounds(cases: Sequence[Case], variants: Sequence[str], repeats: int, seed: int) -> Iterator[Round]:
    """All runs in their order: test bed after test bed, in each of them round after round.

    Within a round the cases follow each other in the order given, and the variants of a case in an order that is drawn
    anew each time.

    Args:
        seed: Fixes what is drawn.
    """
    for links in dict.fromkeys(str(case["links"]) if "links" in case else None for case in cases):
        chosen = [case for case in cases if links is None or case["links"] == links]
        for repeat in range(repeats):
            runs = [run for case in chosen for run in _shuffled(case, variants, repeat, seed)]
            yield Round(links, repeat, tuple(runs))


def rng_of(seed: int, *what: object) -> random.Random:
    """A generator of its own for each purpose: what one draws does not change what another one does."""
    return random.Random(msgspec.json.encode([seed, *map(str, what)]).decode())


def _shuffled(case: Case, variants: Sequence[str], repeat: int, seed: int) -> Sequence[Run]:
    order = [Run(case, variant, repeat) for variant in variants]
    rng_of(seed, "order", sorted(case.items()), repeat).shuffle(order)
    return order
