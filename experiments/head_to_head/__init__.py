"""Head to head: the published policies, trivial ones and EdgeSplit's under the same requests."""
