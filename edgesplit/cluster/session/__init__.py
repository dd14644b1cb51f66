"""The control plane of one EdgeSplit, in the caller's process, from start to clean end."""
