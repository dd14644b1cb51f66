"""What a program that infers has in its own process: EdgeSplit, its requests, its records."""
