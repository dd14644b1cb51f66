"""From the caller's model to a program: snapshot, torch.export, layers, and what is refused."""
