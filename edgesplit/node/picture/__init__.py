"""Pictures from their files to what a model takes: the same pixels on every host that does it."""
