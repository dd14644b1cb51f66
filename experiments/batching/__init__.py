"""What running several requests at once brings: `python -m experiments.batching`."""
