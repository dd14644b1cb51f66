"""NaN and infinity are kept from runtimes that may lose them, at the price of a sum."""

import math

import numpy as np
import pytest
import torch

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime.guard import Guarded
from edgesplit.node.transport.tensor_form import TensorForm

FORMS = (TensorForm("float32", (2, 3), (3, 1)), TensorForm("int64", (2,), (1,)), 7)


class Doubles:
    n_bytes = 12

    def __call__(self, values):
        return [value * 2 for value in values]


def payload(*first, kind=torch.tensor):
    numbers = torch.zeros(2, 3)
    numbers.view(-1)[: len(first)] = torch.tensor(first)
    both = [numbers, torch.tensor([1, 2])]
    return [*(both if kind is torch.tensor else [v.numpy() for v in both]), 7]


def guarded(example=None):
    made = Guarded(Doubles(), FORMS, "onnx")
    if example is not None:
        made.judged_on(example)
    return made


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
@pytest.mark.parametrize("extreme", [math.nan, math.inf, -math.inf])
def test_what_it_was_not_judged_on_is_refused(kind, extreme):
    run = guarded(payload(1.0, kind=kind))
    assert run(payload(1.0, kind=kind))[0][0, 0] == 2.0
    with pytest.raises(RuntimeUnavailableError, match="holds NaN or infinity, which onnx may lose"):
        run(payload(1.0, extreme, kind=kind))


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_infinities_of_the_example_may_come_again_but_no_nan(kind):
    run = guarded(payload(0.0, -math.inf, kind=kind))
    assert run(payload(-math.inf, 1.0, math.inf, kind=kind))[0][0, 0] == -math.inf
    with pytest.raises(RuntimeUnavailableError):
        run(payload(-math.inf, math.nan, kind=kind))


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_sums_that_overflow_are_no_infinities(kind):
    large = payload(3e38, 3e38, 3e38, kind=kind)
    assert guarded(large).takes(large)


def test_a_range_that_was_not_judged_yet_takes_infinities_only():
    assert guarded().takes(payload(math.inf))
    assert not guarded().takes(payload(math.nan))


def test_it_holds_what_the_range_holds():
    assert guarded().n_bytes == 12
