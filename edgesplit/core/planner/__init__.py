"""The planner: the plan of least score, exact, also under a latency limit and over runtimes.

space: places, arcs and windows. shortest: one quantity. limited: two of them, seconds within a
limit. choose: puts them together. route: relays.
"""
