"""Faults while callers send, on one machine or on three hosts: `python -m experiments.chaos`."""
