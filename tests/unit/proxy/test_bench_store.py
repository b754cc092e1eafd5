"""The benchmark of the node's own fetches and stores."""

from skylark_proxy.bench.store import bench_store
from skylark_proxy.config import Config


def test_the_node_beside_plain_redis() -> None:
    """Each size has a fetch and a store, with the times of the node and of redis-py."""
    told: list[str] = []
    results = bench_store(Config(node="here"), 1, told.append, (10, 100_000))
    assert [(one.operation, one.size_bytes) for one in results] == [
        ("store", 10),
        ("fetch", 10),
        ("store", 100_000),
        ("fetch", 100_000),
    ]
    assert all(one.ratio > 0 and one.cpu_ratio > 0 and one.node_ms > 0 for one in results)
    assert "measuring 100,000 bytes" in told
