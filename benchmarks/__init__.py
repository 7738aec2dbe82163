"""Measurements beside peers on the same work in one run: ``make bench``. Results and method: benchmarks/README.md."""
