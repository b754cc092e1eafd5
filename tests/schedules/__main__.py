"""Runs schedules: `python -m schedules --help`."""

import argparse
import logging
import os
import sys
import time

from schedules.mutants import MUTANTS
from schedules.running import attempt, run
from schedules.schedule import Schedule, Settings


def found(name: str, seed: int, writes: int) -> bool:
    """Run a mutant until the checker finds what is wrong with it."""
    settings, done = Settings(), 0
    while done < writes:
        with MUTANTS[name]():
            _, outcome = attempt(seed, settings)
        done += settings.writes
        if isinstance(outcome, str):
            print(f"{name}: found with seed {seed}, within {done:,} writes: {outcome.splitlines()[0]}", flush=True)
            return True
        seed += 1
    print(f"{name}: NOT found within {done:,} writes", flush=True)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="schedules", description="Simulate the state protocol, schedule by schedule.")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--writes", type=int, default=200_000, help="acknowledged writes of all schedules (200,000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many run at once (all cores)")
    parser.add_argument("--one", action="store_true", help="run only the first seed, and show the log")
    parser.add_argument("--mutants", action="store_true", help="show that each mend is needed: run Skylark without it")
    given = parser.parse_args()
    if given.mutants:
        return 1 if [name for name in MUTANTS if not found(name, given.seed, given.writes)] else 0
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
