import torch
from tiers import tiers
from edgesplit.node.security import new_credentials
def test_a():
    c = new_credentials()
    with tiers(credentials=c) as t:
        x = torch.randn(800_000)
        for _ in range(5):
            a = t.infer([x, 7], [("end", 0, 3), ("edge", 3, 5), ("cloud", 5, 9)])
        assert torch.equal(a.values[0], x + 3 + 7 + 26)
