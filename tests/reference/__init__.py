"""Slow models written straight from the formulas, against which the fast ones are tested."""
