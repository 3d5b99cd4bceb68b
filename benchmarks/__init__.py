"""Microbenchmarks and the demo: ``python -m benchmarks --help``."""
