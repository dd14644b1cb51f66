"""Decisions as pure functions of values: numpy and the standard library, nothing else.

No clock, file, thread, torch or Ray. Time is an argument; whatever happens arrives as a value.
"""
