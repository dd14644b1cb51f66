"""This process's place in a Ray cluster: which one, joining it, the embedded one, its head."""
