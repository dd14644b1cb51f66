"""A sample of the corpus through EdgeSplit's public names, on one embedded cluster.

The first input, one of other values and one of another shape give the model's own answer, and
three plans of three tiers give the first plan's bits. All rows with --all-models.
"""

import copy
import random

import pytest
import torch
from corpus import SESSION_SAMPLE
from split_law import close, same_bits
from torch import nn
from torch.utils import _pytree as pytree

from edgesplit import Config, EdgeSplit, Emulation
from edgesplit.errors import ExportError, InputError

CONFIG = Config(exact=True, emulation=Emulation())
PLANS = 3

# What strangers' models and torch say about themselves is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def no_cluster_named_outside(monkeypatch, tmp_path):
    """A cluster that the developer happens to run must not be joined by accident."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("EDGESPLIT_NODE_ENV", str(tmp_path / "no.env"))


@pytest.fixture(scope="module", autouse=True)
def one_cluster():
    """Sessions share the embedded cluster, instead of starting one each."""
    with EdgeSplit(nn.Linear(2, 2), config=CONFIG):
        yield


def is_right(row, given, expected):
    """Equal, up to rounding; of a model that draws numbers only their form is known."""
    if row.is_random:
        return forms(given) == forms(expected)
    return same_bits(given, expected) or close(given, expected)


def forms(result):
    """Shapes, dtypes and types of a result's leaves."""
    leaves, tree = pytree.tree_flatten(result)
    tensors = [isinstance(leaf, torch.Tensor) for leaf in leaves]
    pairs = zip(leaves, tensors, strict=True)
    return tree, [(leaf.shape, leaf.dtype) if is_one else leaf for leaf, is_one in pairs]


def three_tier_plans(row, n):
    """Plans over all tiers, their two cuts drawn from all."""
    draw = random.Random(row.name)
    for _ in range(PLANS):
        i, j = sorted(draw.choices(range(n + 1), k=2))
        yield f"end:0-{i} | edge:{i}-{j} | cloud:{j}-{n}"


def own_answer(model, call):
    """What the model returns, which may write into its inputs."""
    args, kwargs = copy.deepcopy(call)
    with torch.no_grad():
        return model(*args, **kwargs)


def test_session(row):
    model = row.model()
    with EdgeSplit(model, config=CONFIG) as split:
        if row.refused:
            with pytest.raises((ExportError, InputError), match=row.refused):
                split.infer(*row.call()[0], **row.call()[1])
            return
        calls = [row.call(0), row.other_call(), row.call(1)]
        for args, kwargs in [call for call in calls if call is not None]:
            answer = split.infer(*args, **kwargs)
            assert is_right(row, answer, own_answer(model, (args, kwargs)))
        n = len(split.graph)
        whole = split.infer_on(f"end:0-{n}", *args, **kwargs)
        for plan in three_tier_plans(row, n):
            answer = split.infer_on(plan, *args, **kwargs)
            assert row.is_random or same_bits(answer, whole), plan


test_session.sample = SESSION_SAMPLE
