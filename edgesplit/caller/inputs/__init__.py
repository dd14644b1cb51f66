"""What a caller may name instead of making it: pictures as tensors, models by name."""
