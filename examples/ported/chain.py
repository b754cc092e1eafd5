"""Four functions of the published system (in Rust: write_data, ex_preprocess, ex_single, ex_bundled), ported.

They do what the published ones do: pass state on, and answer with how long fetching and storing it took. What was a
server with routes, parsing of parameters and answers for every error is gone: the proxy serves, and an exception is an
answer.
"""

import json
import time

import skylark
from skylark.compat import (
    delete_single_state,
    get_bundled_state,
    get_single_state,
    init_new_chain,
    start_timing,
    store_bundled_state,
    store_single_state,
)


@skylark.function
def write_data(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Begins a chain with states of digits: `{"size_kb": 100, "count": 3}`, both optional; `count` makes it bundled.

    Returns:
        The key of the state, as text.

    Raises:
        ValueError: The body is not such JSON.
    """
    size_kb, count = parse_sizes(bytes(ctx.request.body))
    start_timing()
    init_new_chain()
    text = ("0123456789" * (size_kb * 1024 // 10 + 1))[: size_kb * 1024]
    if count is None:
        key = store_single_state(text)
    else:
        key = store_bundled_state([(f"bundle-child-{number}", text) for number in range(1, count + 1)])
    return answer(key)


@skylark.function
def preprocess(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Passes a single state on; answers with its key and the milliseconds of T(dr) and T(dm)."""
    start_timing()
    init_new_chain()
    started = time.perf_counter()
    state = get_single_state(predecessor(bundle))
    fetched = time.perf_counter()
    key = store_single_state(state)
    stored = time.perf_counter()
    return answer(key, fetched - started, stored - fetched)


@skylark.function
def single(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Stores a single state anew, and deletes what it stored; answers with T(dr) and T(dm)."""
    start_timing()
    init_new_chain()
    started = time.perf_counter()
    state = get_single_state(predecessor(bundle))
    fetched = time.perf_counter()
    key = store_single_state(state)
    stored = time.perf_counter()
    delete_single_state(key)
    return answer(fetched - started, stored - fetched)


@skylark.function
def bundled(bundle: skylark.Bundle, ctx: skylark.Context) -> skylark.Response:
    """Passes a bundled state on, of however many functions, with one fetch and one store; answers as `preprocess`."""
    start_timing()
    init_new_chain()
    started = time.perf_counter()
    states = get_bundled_state(predecessor(bundle))
    fetched = time.perf_counter()
    key = store_bundled_state(states)
    stored = time.perf_counter()
    return answer(key, fetched - started, stored - fetched)


def predecessor(bundle: skylark.Bundle) -> str:
    """The key that the published functions read from the query's `key`.

    Raises:
        ValueError: The caller named none.
    """
    if bundle.key is None:
        raise ValueError("key: missing; name the predecessor's state, as in `?key=chain:node:task`")
    return bundle.key


def answer(*parts: str | float) -> skylark.Response:
    """The published answer: texts, and seconds as milliseconds, with tabs between them."""
    texts = (part if isinstance(part, str) else f"{1000 * part:.3f}" for part in parts)
    return skylark.Response("\t".join(texts).encode(), "text/plain")


def parse_sizes(body: bytes) -> tuple[int, int | None]:
    """Reads the body of `write_data`."""
    given = json.loads(body or b"{}")
    if not isinstance(given, dict):
        raise ValueError('body: expected a JSON object such as {"size_kb": 100, "count": 3}')
    size_kb, count = given.get("size_kb", 100), given.get("count")
    if not isinstance(size_kb, int) or not 0 <= size_kb <= 50_000:
        raise ValueError(f"size_kb: {size_kb!r} is not valid; expected a whole number from 0 to 50000")
    if count is not None and (not isinstance(count, int) or not 1 <= count <= 1000):
        raise ValueError(f"count: {count!r} is not valid; expected a whole number from 1 to 1000")
    return size_kb, count
