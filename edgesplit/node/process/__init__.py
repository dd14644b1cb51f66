"""What a process of its own has: threads, memory, imported modules, messages."""
