"""Runs on the host `end`: EdgeSplit on a model nobody prepared, over the cluster of `ray up`.

Prints a line of JSON: whether each plan's output is the whole model's, bit by bit, where the tiers'
actors are, and the plan that was chosen.
"""

import json

import torch
from torch import nn

from edgesplit import Config, EdgeSplit, parse_plan


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.right = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, image):
        x = self.first(image).relu()
        y = self.left(x) + self.right(x)
        return {"logits": self.head(y.mean((2, 3))), "features": y}


def main():
    torch.set_num_threads(1)  # as the tiers: with more, sums are taken in another order
    torch.manual_seed(0)
    model, x = Branches().eval(), torch.rand(2, 3, 24, 24)
    expected = model(x)
    with EdgeSplit(model, config=Config(threads=1, runtimes=("torch",))) as split:
        split.infer(x)
        n = len(split.graph)
        plans = [str(split.plan), f"end:0-{n}", f"end:0-0 | cloud:0-{n}"]
        plans += [f"end:0-{k} | edge:{k}-{k + 1} | cloud:{k + 1}-{n}" for k in range(n)]
        results = {}
        for plan in plans:
            y = split.infer_on(parse_plan(plan), x)
            results[plan] = all(torch.equal(y[key], expected[key]) for key in expected)
        addresses = split.addresses
        print(json.dumps({"equal": results, "hosts": addresses, "plan": str(split.plan)}))


if __name__ == "__main__":
    main()
