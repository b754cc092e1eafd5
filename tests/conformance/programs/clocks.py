"""Clocks: they agree with each other, the monotonic one never goes back, and a sleep lasts."""

import datetime
import select
import time

from conformance.programs.record import attempt, say


def main(arguments: list[str]) -> None:
    """The first argument is the time by the test's clock, in seconds."""
    say("the time is right", abs(time.time() - float(arguments[0])) < 120)
    say("nanoseconds agree", abs(time.time_ns() / 1e9 - time.time()) < 1)
    readings = [time.monotonic_ns() for _ in range(20_000)]
    say("never back", readings == sorted(readings))
    say("moves", readings[-1] > readings[0])
    say("perf_counter", [time.perf_counter() <= time.perf_counter(), time.perf_counter_ns() > 0])
    for seconds in (0.0, 0.001, 0.05, 0.3):
        say(f"sleep {seconds}", _lasts(seconds))
    attempt("sleep less than nothing", time.sleep, -1)
    started = time.monotonic()
    select.select([], [], [], 0.1)
    say("select lasts", 0.095 <= time.monotonic() - started < 5)
    say("UTC", datetime.datetime.now(datetime.UTC).utcoffset() == datetime.timedelta(0))
    say("epoch", time.gmtime(0)[:6])
    say("a moment", datetime.datetime.fromtimestamp(1_700_000_000, datetime.UTC).isoformat())
    say("strftime", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_700_000_000)))
    say("mktime", time.mktime(time.localtime(1_700_000_000)) == 1_700_000_000)
    say("resolution", [0 < time.get_clock_info(name).resolution < 0.1 for name in ("time", "monotonic")])
    used = time.process_time()
    say("processor time", sum(range(200_000)) > 0 and time.process_time() >= used)


def _lasts(seconds: float) -> bool:
    wall, steady = time.time(), time.monotonic()
    time.sleep(seconds)
    return time.monotonic() - steady >= seconds and -0.05 <= time.time() - wall - seconds < 5
