"""Spoilt frames against a live tier: `python -m experiments.fuzz`."""
