"""Runs schedules: `python -m schedules --help`."""

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator

from schedules.checker import Violation
from schedules.schedule import Outcome, Schedule, Settings


def attempt(seed: int, settings: Settings) -> tuple[int, Outcome | str]:
    """Run one schedule; what went wrong is text, since it crosses processes."""
    logging.disable(logging.CRITICAL)
    try:
        return seed, Schedule(seed, settings).run()
    except Violation as violation:
        return seed, str(violation)


def run(first_seed: int, writes: int, settings: Settings, processes: int) -> Iterator[tuple[int, Outcome | str]]:
    """Run schedules from a seed on until so many writes were acknowledged."""
    count = -(-writes // settings.writes)
    calls = [(seed, settings) for seed in range(first_seed, first_seed + count)]
    if processes == 1:
        yield from (attempt(*call) for call in calls)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(_attempt, calls, chunksize=4)


def _attempt(call: tuple[int, Settings]) -> tuple[int, Outcome | str]:
    return attempt(*call)


def main() -> int:
    parser = argparse.ArgumentParser(prog="schedules", description="Simulate the state protocol, schedule by schedule.")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--writes", type=int, default=200_000, help="acknowledged writes of all schedules (200,000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many run at once (all cores)")
    parser.add_argument("--one", action="store_true", help="run only the first seed, and show the log")
    given = parser.parse_args()
    settings = Settings()
    if given.one:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        print(Schedule(given.seed, settings).run())
        return 0
    started_s, failed, total = time.monotonic(), 0, [0] * 5
    schedules = 0
    for seed, outcome in run(given.seed, given.writes, settings, given.processes):
        schedules += 1
        if isinstance(outcome, str):
            failed += 1
            print(f"seed {seed}: {outcome}", flush=True)
            continue
        counts = outcome.acknowledged, outcome.reads, outcome.in_doubt, outcome.faults, outcome.requests
        total = [sum(pair) for pair in zip(total, counts, strict=True)]
    took_s = time.monotonic() - started_s
    acknowledged, reads, in_doubt, faults, requests = total
    print(
        f"{schedules:,} schedules in {took_s:.1f} s: {acknowledged:,} writes acknowledged, {in_doubt:,} in doubt, "
        f"{reads:,} reads, {requests:,} requests, {faults:,} faults; {failed} failed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
