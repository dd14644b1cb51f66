"""What a caller knows of an answer: sizes too, unless they depend on values."""

import pytest
import torch
from torch import nn

from edgesplit.node.program.answer_form import answer_form
from edgesplit.node.program.export.model import export
from edgesplit.node.program.profiler import payload_forms


class Doing(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def upto(x):
    n = x.to(torch.int64).max().item()
    torch._check(n >= 0)
    torch._check(n <= 8)
    return torch.arange(8)[:n] + 1


def form_of(function, x):
    exported = export(Doing(function), (x,))
    values = exported.flatten((x,))
    return answer_form(exported.program, payload_forms(exported.program, values))


@pytest.mark.parametrize(
    ("function", "is_fixed"),
    [
        (lambda x: x.relu(), True),
        (lambda x: x[:, 1:].sum(), True),
        (lambda x: (x + 1)[torch.tensor([0, 0])], True),
        (lambda x: (x + 1)[x > 2], False),
        (lambda x: x.nonzero(), False),
        (upto, False),
    ],
    ids=["relu", "sum", "index", "mask", "nonzero", "item"],
)
def test_sizes_that_depend_on_values_are_not_fixed(function, is_fixed):
    assert form_of(function, torch.arange(12.0).reshape(3, 4) % 5).are_sizes_fixed == is_fixed


def test_other_libraries_operators_may_give_any_size():
    @torch.library.custom_op("edgesplit_tests::doubled", mutates_args=())
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    doubled.register_fake(torch.empty_like)
    assert not form_of(lambda x: doubled(x), torch.ones(3, 4)).are_sizes_fixed


def test_the_bytes_of_an_answer_are_those_of_its_frame():
    form = form_of(lambda x: (x.relu(), x.sum()), torch.ones(3, 100))
    assert form.body_bytes == 1216 + 64
