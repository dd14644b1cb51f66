"""How the plan follows a link that is throttled: `python -m experiments.throttle`."""
