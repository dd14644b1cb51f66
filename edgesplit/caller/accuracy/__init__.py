"""What approximations cost in accuracy: measured on the user's examples, watched on requests."""
