"""Payloads between processes: frames, TLS, connections, and whether a peer is still there."""
