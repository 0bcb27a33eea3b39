"""Faults that take long to try: ``python -m benchmarks.stress_faults``."""
