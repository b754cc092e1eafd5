"""Names of chains and tasks."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from skylark.names import is_name
from skylark_proxy.ids import new_id

FORKING = """
import os
from skylark_proxy.ids import new_id
new_id()
if not os.fork():
    print(new_id(), flush=True)
    os._exit(0)
os.wait()
for _ in range(1_000):
    print(new_id())
"""


def test_every_name_is_another_one() -> None:
    """However many threads draw names at once, each is drawn once, and is 32 hexadecimal digits."""
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: new_id(), range(5_000)))
    assert len(set(names)) == len(names)
    assert all(is_name(name) and len(name) == 32 and int(name, 16) >= 0 for name in names)


def test_a_child_process_draws_other_names() -> None:
    """A forked process gives out none of the names that its parent holds ready."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert (len(names), len(set(names))) == (1_001, 1_001)
