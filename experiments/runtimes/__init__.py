"""What each runtime brings on this machine: `python -m experiments.runtimes`."""
