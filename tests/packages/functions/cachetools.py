from cachetools import LRUCache, TTLCache, cached


def call() -> object:
    """Keep the results of calls, and drop the oldest."""
    cache, now = LRUCache(maxsize=2), [0.0]
    square = cached(cache)(lambda number: number * number)
    results = [square(number) for number in (1, 2, 1, 3)]
    timed = TTLCache(maxsize=2, ttl=5, timer=lambda: now[0])
    timed["a"] = 1
    now[0] = 6
    return results, sorted(cache.values()), "a" in timed
