"""Data sets and streams as people have them, as examples; and preprocessing as layers."""
