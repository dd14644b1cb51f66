"""The tail of latency over links that change: bandwidth traces, replayed or really played."""
