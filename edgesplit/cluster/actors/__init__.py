"""The actors and what they keep: one per tier, the scheduler, and the log of their calls."""
