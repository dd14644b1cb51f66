"""What a host needs to be a node of a cluster: ports, node file, token, unit, and their checks.

No Ray and no torch: this runs before either is known to work.
"""
