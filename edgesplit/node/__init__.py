"""One machine: export and run a model's segments, talk over sockets, measure. No Ray."""
