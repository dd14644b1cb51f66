"""Joules: what a figure of energy holds, and how readings of a meter become one.

Pure: a reading's time is an argument, and nothing here opens a file or a device.
"""
