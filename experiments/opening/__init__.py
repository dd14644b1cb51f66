"""Seconds until the first answer, and what processes hold: `python -m experiments.opening`."""
