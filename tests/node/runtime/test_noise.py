"""What runtimes are judged on: like the example in form and range, never constant, repeatable."""

import math

import pytest
import torch
from runtime_cases import case_of
from torch import nn

from edgesplit.node.runtime.noise import KINDS, Draft, noise_like, noise_trials
from edgesplit.node.transport.tensors import forms_of

FIRST = Draft(0, 0)
BY_NAME = {kind.name: kind for kind in KINDS}


def noise(name, value, draft=FIRST):
    return noise_like([value], BY_NAME[name], draft)[0]


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(12, 4)

    def forward(self, tokens):
        return self.table(tokens)


class Logarithm(nn.Module):
    def forward(self, x):
        return (x + 0.5).log()


class Branches(nn.Module):
    """A whole number decides what runs; in a loop it would decide how often."""

    def forward(self, n, x):
        return torch.cond((n > 2).all(), torch.sin, torch.cos, (x,))


def trials(model, *args):
    sample = case_of(model, list(args))
    return {t.name.split()[0]: t.make() for t in noise_trials(sample.program, sample.values)}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(
    "example",
    [
        torch.zeros(2, 3, 9),
        torch.rand(2, 3, 8).transpose(1, 2),
        torch.full((40,), 7.0, dtype=torch.float64),
        torch.rand(4, 12).half(),
        torch.rand(4, 12).bfloat16(),
        torch.tensor([[math.nan, math.inf, 1.0, 2.0] * 6]),
        torch.zeros(4, 12, dtype=torch.uint8),
        torch.randint(-9, 9, (5, 7), dtype=torch.int32),
        torch.full((6, 6), 300),
        torch.zeros(90, dtype=torch.bool),
        torch.rand(3, 1, 4).expand(3, 5, 4),
        torch.rand(4, 12).to(torch.complex64),
    ],
    ids=lambda example: str(example.dtype),
)
def test_noise_has_the_example_s_form_is_not_constant_and_repeats(kind, example):
    drawn = noise_like([example, 3], kind, FIRST)
    assert forms_of(drawn) == forms_of([example, 3])
    again = noise_like([example, 3], kind, FIRST)
    assert torch.equal(drawn[0], again[0])
    if not (example.dtype == torch.bool and kind.name == "sparse"):
        assert (drawn[0] != drawn[0].flatten()[0]).any()
    assert not example.is_floating_point() or bool(drawn[0].isfinite().all())


def test_each_kind_shows_something_of_its_own():
    x = torch.zeros(4, 200)
    assert (noise("coarse", x) * 2 == (noise("coarse", x) * 2).round()).all()
    assert noise("large", x).abs().max() > 100
    assert 0 < noise("small", x).abs().max() < 0.1
    assert (noise("sparse", x) == 0).float().mean() > 0.3
    assert (noise("normal", x) < 0).any()
    assert (noise("normal", x) > 0).any()


def test_uniform_noise_stays_in_the_examples_range_and_others_scale_with_it():
    x = torch.linspace(20.0, 255.0, 500)
    uniform = noise("uniform", x)
    assert 20.0 <= uniform.min() < 30.0
    assert 245.0 < uniform.max() <= 255.0
    assert noise("normal", x).abs().max() > 255.0


def test_whole_numbers_stay_where_the_model_takes_them():
    """Also after an example of zeros: twelve rows are not known from it."""
    for example in (torch.zeros(2, 40, dtype=torch.int64), torch.randint(0, 12, (2, 40))):
        found = trials(Embeds(), example)
        assert set(found) == set(BY_NAME)
        for (tokens,) in found.values():
            assert 0 <= tokens.min() < tokens.max() < 12


def test_whole_numbers_go_as_far_as_their_dtype_where_the_model_takes_all():
    (drawn,) = trials(nn.ReLU(), torch.randint(0, 9, (4, 40), dtype=torch.int16))["large"]
    assert drawn.min() < -20_000
    assert drawn.max() > 20_000


def test_noise_is_softened_until_the_answer_is_finite():
    found = trials(Logarithm(), torch.rand(4, 30))
    assert set(found) == set(BY_NAME)
    for (x,) in found.values():
        assert bool((x + 0.5).log().isfinite().all())
    assert found["large"][0].max() > 50


def test_whole_numbers_are_left_alone_where_they_may_decide_how_often_a_loop_runs():
    found = trials(Branches(), torch.tensor([3]), torch.rand(4))
    assert set(found) == set(BY_NAME)
    assert all(n.item() == 3 for n, _ in found.values())
