"""A program: the exported model as layers, segments and weights, packed, shipped and timed."""
