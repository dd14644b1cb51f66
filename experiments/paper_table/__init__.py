"""The paper's comparison with other policies: `python -m experiments.paper_table`."""
