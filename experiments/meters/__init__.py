"""How far off each way of metering is, on a simulated device: `python -m experiments.meters`."""
