"""How answers are compared: by label, by class, by distance, by the user's metric."""

import math

import pytest
import torch

from edgesplit.caller.accuracy.examples import Examples
from edgesplit.caller.accuracy.tally import is_classified, tally_for
from edgesplit.core.accuracy import mean_loss, paired_loss, share_of

RIGHT, WRONG = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])  # of label 1
LABELLED = Examples([(torch.zeros(2), 1)])


def counted(examples, *pairs):
    tally = tally_for(examples, pairs[0][0])
    for exact, other in pairs:
        tally.add(exact, other, (1,) if examples and examples.are_labelled else (), 1)
    return tally.loss()


def test_with_labels_right_answers_lost_and_won_are_counted():
    pairs = [(RIGHT, RIGHT)] * 5 + [(RIGHT, WRONG)] * 3 + [(WRONG, RIGHT)] + [(WRONG, WRONG)]
    assert counted(LABELLED, *pairs) == paired_loss(worse=3, better=1, count=10)


def test_without_labels_other_classes_are_counted():
    pairs = [(RIGHT, RIGHT)] * 5 + [(RIGHT, WRONG)] * 3 + [(WRONG, RIGHT)]
    assert counted(None, *pairs) == share_of(4, 9)
    assert counted(Examples([torch.zeros(2)]), *pairs) == share_of(4, 9)


def test_what_is_no_classifier_is_compared_by_distance():
    exact = torch.tensor([3.0, 4.0])
    assert counted(None, (exact, exact), (exact, exact + torch.tensor([0.0, 0.5]))) == mean_loss(
        [0.0, 0.1]
    )


def test_several_results_are_one_answer():
    exact = {"boxes": torch.tensor([[3.0]]), "scores": torch.tensor([[4.0]])}
    other = {"boxes": torch.tensor([[3.0]]), "scores": torch.tensor([[3.0]])}
    assert counted(None, (exact, other)).share == pytest.approx(0.2)


def test_rows_that_only_fill_a_batch_up_do_not_count():
    exact, other = torch.cat([RIGHT, RIGHT, RIGHT]), torch.cat([RIGHT, WRONG, WRONG])
    tally = tally_for(LABELLED, exact)
    tally.add(exact, other, (1, 1), n_real=2)
    assert tally.loss() == paired_loss(worse=1, better=0, count=2)


def test_the_users_metric_decides():
    seen = []

    def metric(outputs, targets):
        seen.append((outputs.shape, targets.tolist()))
        return float(outputs.sum())

    examples = Examples([(torch.zeros(2), 1)], metric)
    tally = tally_for(examples, RIGHT)
    tally.add(torch.ones(3, 2), torch.ones(3, 2) / 2, (1, 1), n_real=2)
    assert seen == [(torch.Size([2, 2]), [1, 1])] * 2
    assert tally.loss().share == 2.0


@pytest.mark.parametrize(
    ("result", "is_so"),
    [
        (torch.rand(4, 10), True),
        ((torch.rand(4, 10),), True),
        ({"logits": torch.rand(4, 10)}, True),
        (torch.rand(4, 1), False),
        (torch.rand(4, 10, 3), False),
        (torch.ones(4, 10, dtype=torch.int64), False),
        ((torch.rand(4, 10), torch.rand(4, 2)), False),
    ],
)
def test_what_a_classifier_is(result, is_so):
    assert is_classified(result) is is_so


def test_targets_of_one_shape_are_one_tensor_for_the_metric():
    seen = []
    examples = Examples([(torch.zeros(2), torch.zeros(3))], lambda o, t: seen.append(t) or 0.0)
    tally = tally_for(examples, RIGHT)
    tally.add(torch.ones(2, 2), torch.ones(2, 2), (torch.zeros(3), torch.ones(3)), n_real=2)
    tally.add(torch.ones(1, 2), torch.ones(1, 2), ("a box",), n_real=1)
    assert torch.equal(seen[0], torch.tensor([[0.0] * 3, [1.0] * 3]))
    assert seen[-1] == ["a box"]


def test_rows_that_only_fill_up_are_not_shown_to_the_metric_of_several_results():
    seen = []
    examples = Examples([(torch.zeros(2), 1)], lambda o, t: seen.append(o["logits"].shape) or 0.0)
    tally_for(examples, RIGHT).add(
        {"logits": torch.ones(3, 2)}, {"logits": torch.ones(3, 2)}, (1, 1), n_real=2
    )
    assert seen == [torch.Size([2, 2])] * 2


def test_what_is_no_number_is_no_class():
    broken = torch.tensor([[0.0, math.nan]])  # whose largest is at 1, as torch has it
    assert counted(LABELLED, (RIGHT, broken)) == paired_loss(worse=1, better=0, count=1)
    assert counted(None, (RIGHT, broken)) == share_of(1, 1)
    assert counted(None, (broken, broken)) == share_of(0, 1)


def test_what_is_no_number_in_both_is_alike():
    exact = torch.tensor([3.0, -math.inf, math.nan])
    pairs = [(exact, exact), (exact, torch.tensor([math.nan, -math.inf, math.nan]))]
    assert counted(None, *pairs) == mean_loss([0.0, 1.0])
