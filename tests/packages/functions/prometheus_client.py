from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest


def call() -> object:
    """Count and measure, and write it in the text format."""
    registry = CollectorRegistry()
    calls = Counter("calls", "Calls.", ["node"], registry=registry)
    calls.labels("sat1").inc(2)
    Histogram("seconds", "Time.", buckets=(0.1, 1), registry=registry).observe(0.5)
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]
