"""Every model of the corpus, without Ray: its answer, whole and along three plans, or a sentence.

`pytest tests/models --all-models` tries all rows, otherwise a fixed sample.
"""

import copy
import itertools
import random

import pytest
import torch
from corpus import FAMILIES, SAMPLE
from split_law import close, same_bits, through_wire

from edgesplit.errors import ExportError, InputError
from edgesplit.node.program.export.model import export
from edgesplit.node.program.profiler import payload_forms

PLANS = 3

# What strangers' models and torch say about themselves is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


def prepared(model, call):
    """What a session does with a first input before anything is sent."""
    exported = export(model, *call)
    payload_forms(exported.program, exported.flatten(*call))
    return exported


def own_answer(model, call):
    """What the model returns, which may write into its inputs."""
    args, kwargs = copy.deepcopy(call)
    torch.manual_seed(0)
    with torch.no_grad():
        return model(*args, **kwargs)


def along(exported, call, cuts):
    """The answer by way of segments between these cuts, each on a tier of its own."""
    program, payload = exported.program, exported.flatten(*call)
    torch.manual_seed(0)
    for start, stop in itertools.pairwise([0, *cuts, len(program)]):
        payload = program.segment(start, stop)(through_wire(payload))
    return exported.unflatten(payload)


def three_tier_plans(row, n):
    """Pairs of cuts, drawn from all of them."""
    draw = random.Random(row.name)
    return [sorted(draw.choices(range(n + 1), k=2)) for _ in range(PLANS)]


def differing(plans, exported, call):
    """Pairs of cuts whose answer is not the whole program's, bit for bit."""
    whole = along(exported, call, [])
    return [cuts for cuts in plans if not same_bits(along(exported, call, cuts), whole)]


def check(row, model, exported, call):
    """The law for one input: plans as the whole, the whole as the model."""
    assert differing(three_tier_plans(row, len(exported.program)), exported, call) == []
    whole, expected = along(exported, call, []), own_answer(model, call)
    assert same_bits(whole, expected) or close(whole, expected)


def test_answer_or_sentence(row):
    model = row.model()
    if row.refused:
        with pytest.raises((ExportError, InputError), match=row.refused):
            prepared(model, row.call())
        return
    exported = prepared(model, row.call())
    assert exported.accepts(*row.call(1)), "other values need another export"
    check(row, model, exported, row.call(1))
    other = row.other_call()
    if other is not None:
        again = exported if exported.accepts(*other) else prepared(model, other)
        check(row, model, again, other)


test_answer_or_sentence.sample = (*SAMPLE, *(row.name for row in FAMILIES["refused"]))
