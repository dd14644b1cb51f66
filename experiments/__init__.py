"""One short script per experiment; each runs as `python -m experiments.NAME --out DIR`."""
