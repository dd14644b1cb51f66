"""Policies given the recorded events of a session: what each would have cost, and the best ones."""
