"""Tile-parallel policies as cost models: parts of one layer on several machines. No executor."""
