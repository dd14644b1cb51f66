"""Experiments: one short script each. They use names without an underscore only."""
