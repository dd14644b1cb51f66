"""What payload codecs save, under a floor of accuracy: `python -m experiments.codecs`."""
