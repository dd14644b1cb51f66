"""Many control loops in one process: what they cost, and how soon they decide."""
