"""What EdgeSplit costs beside the model's own work: `python -m experiments.overhead`."""
