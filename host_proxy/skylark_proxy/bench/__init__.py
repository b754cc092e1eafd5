"""Benchmarks of the hot path, each with its comparison in the same run."""
