"""Runs many schedules, in several processes."""

import concurrent.futures
import gc
import logging
import multiprocessing
import traceback
from collections.abc import Iterator

from schedules.checker import Violation
from schedules.schedule import Outcome, Schedule, Settings


def attempt(seed: int, settings: Settings) -> tuple[int, Outcome | str]:
    """Run one schedule; what went wrong is text, since it crosses processes."""
    logging.disable(logging.CRITICAL)
    gc.set_threshold(100_000)  # a schedule keeps all that it has done, which is not garbage
    try:
        return seed, Schedule(seed, settings).run()
    except Violation as violation:
        return seed, str(violation)
    except Exception:  # a defect of Skylark, or of the simulation
        return seed, traceback.format_exc()


def run(first_seed: int, writes: int, settings: Settings, processes: int) -> Iterator[tuple[int, Outcome | str]]:
    """Run schedules from a seed on until so many writes were acknowledged."""
    count = -(-writes // settings.writes)
    calls = [(seed, settings) for seed in range(first_seed, first_seed + count)]
    if processes == 1:
        yield from (attempt(*call) for call in calls)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
        yield from pool.map(attempt, *zip(*calls, strict=True), chunksize=4)
