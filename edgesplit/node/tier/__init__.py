"""One tier as a server: takes requests in, runs its layers, sends the payload on; emulation."""
