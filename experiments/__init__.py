"""Experiments: one short script each. They use EdgeSplit's public names only."""
