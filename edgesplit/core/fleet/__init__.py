"""Tiers that others use too: what a host says of itself, the pressures and prices that follow.

Imports nothing of core but `given`: tiers, costs and the control loop build on it.
"""
