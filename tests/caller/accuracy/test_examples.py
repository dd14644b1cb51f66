"""The user's examples: what is taken, what is refused, how they are laid out as requests are."""

import pytest
import torch

from edgesplit.caller.accuracy.examples import MOST_EXAMPLES, Examples, checked_examples
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.core.goal import Goal
from edgesplit.errors import GoalError, InputError


def like(*args):
    return CallArguments(args, {}).forms


class OnlyItems:
    """A data set of torch's oldest kind: a length and items, no iterator."""

    def __len__(self):
        return 5

    def __getitem__(self, number):
        return torch.full((3, 4), float(number)), number


@pytest.mark.parametrize(
    "given",
    [
        [torch.rand(1, 3, 4) for _ in range(5)],
        [torch.rand(3, 4) for _ in range(5)],
        [(torch.rand(3, 4), 1) for _ in range(5)],
        [(torch.rand(1, 3, 4), torch.tensor(1)) for _ in range(5)],
        torch.utils.data.TensorDataset(torch.rand(5, 3, 4), torch.arange(5)),
        OnlyItems(),
    ],
)
def test_inputs_with_and_without_labels_and_batch_dimension(given):
    batches = list(Examples(given).like(like(torch.rand(1, 3, 4))))
    assert [batch.n_real for batch in batches] == [1] * 5
    assert {batch.arguments.args[0].shape for batch in batches} == {torch.Size([1, 3, 4])}


def test_a_request_of_several_takes_several_and_the_last_is_filled_up():
    given = [(torch.full((2,), float(n)), n) for n in range(5)]
    first, second = Examples(given).like(like(torch.rand(3, 2)))
    assert torch.equal(first.arguments.args[0][:, 0], torch.tensor([0.0, 1.0, 2.0]))
    assert torch.equal(second.arguments.args[0][:, 0], torch.tensor([3.0, 4.0, 4.0]))
    assert (first.n_real, second.n_real) == (3, 2)
    assert (first.targets, second.targets) == ((0, 1, 2), (3, 4))


def test_several_inputs_and_plain_values():
    given = [((torch.rand(2), torch.rand(4), 7), 1)] * 3
    wanted = like(torch.rand(1, 2), torch.rand(1, 4), 7)
    assert [batch.arguments.args[2] for batch in Examples(given).like(wanted)] == [7, 7, 7]


def test_strides_are_the_requests():
    x = torch.rand(1, 3, 4, 4).to(memory_format=torch.channels_last)
    given = [torch.rand(3, 4, 4)]
    [batch] = Examples(given).like(like(x))
    assert batch.arguments.args[0].stride() == x.stride()
    assert torch.equal(batch.arguments.args[0][0], given[0])


def test_a_request_that_repeats_values_takes_examples_that_do_too():
    grey = torch.rand(1, 1, 4, 4).expand(-1, 3, -1, -1)
    other = torch.rand(1, 1, 4, 4).expand(-1, 3, -1, -1)
    [batch] = Examples([other.contiguous()]).like(like(grey))
    assert batch.arguments.args[0].stride() == grey.stride()
    assert torch.equal(batch.arguments.args[0], other)
    with pytest.raises(InputError, match="which these examples do not"):
        list(Examples([torch.rand(1, 3, 4, 4)]).like(like(grey)))


def test_of_a_large_data_set_the_first_ones_are_taken():
    examples = Examples([torch.zeros(1)] * (MOST_EXAMPLES + 7))
    assert examples.count == MOST_EXAMPLES == len(list(examples))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("photos", "given str"),
        (torch.rand(5, 3), "given Tensor"),
        ((x for x in [torch.rand(3)]), "of a generator make a list"),
        (7, "given int"),
        ([], "are empty"),
        ([[1, 2, 3]], "an example is a tensor"),
        ([("a picture", 1)], "ToTensor"),
    ],
)
def test_what_cannot_be_examples_is_said(given, says):
    with pytest.raises(InputError, match=says):
        Examples(given)


def test_a_metric_needs_targets_and_examples():
    with pytest.raises(InputError, match="the examples have none"):
        Examples([torch.rand(3)], metric=lambda outputs, targets: 1.0)
    with pytest.raises(InputError, match="metric is a function"):
        Examples([(torch.rand(3), 1)], metric=0.5)
    with pytest.raises(InputError, match="give EdgeSplit"):
        checked_examples(None, lambda outputs, targets: 1.0)


@pytest.mark.parametrize(
    ("example", "request_args", "says"),
    [
        (torch.rand(3, 5), (torch.rand(1, 3, 4),), "examples look like"),
        (torch.rand(3), (torch.ones(1, 3, dtype=torch.uint8),), "of torch.float32, requests of"),
        (torch.ones(3, dtype=torch.uint8), (torch.rand(1, 3),), "of torch.uint8, requests of"),
        (torch.rand(3), (torch.rand(1, 3), torch.rand(1, 3)), "1 inputs, the requests 2"),
    ],
)
def test_examples_of_other_requests_are_refused(example, request_args, says):
    with pytest.raises(InputError, match=says):
        list(Examples([example]).like(like(*request_args)))


def test_examples_of_different_shapes_are_no_batch():
    with pytest.raises(InputError, match="cannot be one batch"):
        list(Examples([torch.rand(3), torch.rand(4)]).like(like(torch.rand(2, 3))))


def test_too_few_to_show_anything_is_said_at_once():
    few = Examples([(torch.rand(3), 1)] * 100)
    with pytest.raises(GoalError, match=r"takes 390 examples to show.*given 100"):
        few.check(Goal(max_accuracy_loss=0.005))
    few.check(Goal(max_accuracy_loss=0.05))
    few.check(Goal())
    unlabelled = Examples([torch.rand(3)] * 100)
    with pytest.raises(GoalError, match="takes 765"):
        unlabelled.check(Goal(max_accuracy_loss=0.005))
