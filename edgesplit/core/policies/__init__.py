"""Policies: functions (graph, profile, goal) -> plan. Ours, and published ones to compare with."""
