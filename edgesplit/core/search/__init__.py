"""The planner's search: shortest paths over (tier, cut), exact also under a latency limit.

space: places, arcs and windows. path: one criterion. limit: the price of a second, and what it
rules out. label: two criteria, exactly. route: relays. planner: puts them together.
"""
