"""Experiments: repeated, interleaved and resumable measurements, and the report of them."""
