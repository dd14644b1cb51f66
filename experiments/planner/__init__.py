"""Whether the planner is exact, and how quick: `python -m experiments.planner`."""
