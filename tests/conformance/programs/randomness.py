"""Random numbers: of the right size, seeded when asked, and new in each run though the interpreter is a snapshot."""

import hashlib
import os
import random
import secrets
import tempfile
import uuid

from conformance.programs.record import say, tell


def main(arguments: list[str]) -> None:
    """Says what is the same in each run, and tells what must not be."""
    for size in (0, 1, 7, 256, 257, 100_000):
        say(f"urandom {size}", len(os.urandom(size)))
    say("not zeros", os.urandom(64).strip(b"\0") != b"")
    say("two differ", os.urandom(32) != os.urandom(32))
    counts = [0] * 256
    for byte in os.urandom(256_000):
        counts[byte] += 1
    say("every byte", 700 < min(counts) <= max(counts) < 1300)
    random.seed(7)
    say("seeded", [random.random(), random.randrange(10**9), random.sample(range(100), 5)])
    say("another generator", random.Random("text").getrandbits(64))
    say("token", len(secrets.token_bytes(16)))
    fresh = [os.urandom(16).hex(), random.SystemRandom().random(), secrets.token_hex(8), str(uuid.uuid4())]
    fresh += [random.Random().random(), next(tempfile._get_candidate_names())]  # type: ignore[attr-defined]
    tell("fresh", hashlib.sha256(repr(fresh).encode()).hexdigest())
    for value in fresh:
        tell("fresh", value)
