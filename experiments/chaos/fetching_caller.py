"""Runs on the host `end`: a model of so many MB that no other host has, opened and asked once.

    python -m experiments.chaos.fetching_caller MEGABYTES SEED

Prints a line of JSON.
"""

import json
import sys
import time

import torch
from torch import nn

from edgesplit import Config, EdgeSplit, EdgeSplitError

_LAYERS = 4


def main(megabytes: float, seed: int) -> None:
    """Open, infer, compare."""
    torch.set_num_threads(1)
    wide = int((megabytes * 1e6 / 4 / _LAYERS) ** 0.5)
    torch.manual_seed(seed)
    model = nn.Sequential(*(nn.Linear(wide, wide) for _ in range(_LAYERS))).eval()
    x, is_right, error = torch.rand(1, wide), False, ""
    began_s = time.perf_counter()
    try:
        with EdgeSplit(model, config=Config(threads=1, runtimes=("torch",))) as split:
            is_right = torch.equal(split.infer_on("end:0-1 | edge:1-3 | cloud:3-4", x), model(x))
    except EdgeSplitError as caught:
        error = str(caught)
    first_s = time.perf_counter() - began_s
    print(json.dumps({"is_right": is_right, "first_s": first_s, "error": error}))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
