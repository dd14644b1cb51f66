"""What is measured before the first plan and beside requests: layers, links, runtimes, watts."""
