"""Experiments: a package or a script each, run as `python -m experiments.NAME`.

They use names without an underscore only. `shared` is what several of them need.
"""
