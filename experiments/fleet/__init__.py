"""Many devices that share edges and a cloud: each for itself, and by prices."""
