"""The user's examples: what accuracy is measured on. Checked, counted, laid out as requests are."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import torch

from edgesplit.caller.call_arguments import CallArguments, SignatureKey
from edgesplit.caller.data.example import Example
from edgesplit.caller.inputs.image_file import ImageFile
from edgesplit.core.accuracy import examples_needed
from edgesplit.core.goal import Goal
from edgesplit.errors import GoalError, InputError
from edgesplit.node.transport.tensors import laid

# Of a data set: the first so many. An accuracy of 95 % is then known to one point.
MOST_EXAMPLES = 2000
# metric(outputs, targets) -> how good they are, the higher the better; the mean counts.
Metric = Callable[[Any, Any], float]


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples as one request carries them. targets: one per example, None where there are none.

    n_real: of its rows; those behind them repeat the last one.
    """

    arguments: CallArguments
    targets: tuple[Any, ...]
    n_real: int


class Examples:
    """As `EdgeSplit(examples=...)` takes them: a data set, or any iterable that can begin anew.

    Each is an input, or a pair (input, target), or an Example of open_data(). An input is a tensor,
    or a tuple of what infer() takes; it has a batch dimension of size 1, or none. A target is a
    class's number, or whatever `metric` takes.
    """

    def __init__(self, given: Iterable[Any], metric: Metric | None = None) -> None:
        """Raises InputError for what cannot be examples."""
        if isinstance(given, (str, bytes, torch.Tensor, Iterator)) or not (
            isinstance(given, Iterable) or hasattr(given, "__getitem__")
        ):
            raise InputError(
                "examples are a data set or a list of inputs, or of pairs (input, target), given "
                f"{type(given).__name__}; of a generator make a list"
            )
        if metric is not None and not callable(metric):
            raise InputError(f"metric is a function of (outputs, targets), given {metric!r}")
        self._given, self.metric = given, metric
        first = next(iter(self), None)
        if first is None:
            raise InputError("examples are empty; give some hundred inputs")
        self.are_labelled = first[1] is not None
        if metric is not None and not self.are_labelled:
            raise InputError(
                "metric compares outputs with targets, but the examples have none: give pairs "
                "(input, target)"
            )

    @property
    def count(self) -> int | None:
        """How many there are, MOST_EXAMPLES at most; None where that is not known beforehand."""
        return min(len(self._given), MOST_EXAMPLES) if isinstance(self._given, Sized) else None

    def check(self, goal: Goal) -> None:
        """Raise GoalError where these can never show that a loss is within the goal's."""
        most = goal.max_accuracy_loss
        if most is None or self.metric is not None or self.count is None:
            return
        needed = examples_needed(most, self.are_labelled)
        if self.count < needed:
            raise GoalError(
                f"max_accuracy_loss={most:g} takes {needed} examples to show, even where none is "
                f"answered differently, given {self.count}; give more, or grant more"
            )

    def __iter__(self) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """(arguments, target) of each. Raises InputError for what is no example."""
        for one in itertools.islice(_read(self._given), MOST_EXAMPLES):
            yield _pair(one)

    def like(self, wanted: SignatureKey) -> Iterator[Batch]:
        """All of them in batches of that form, which is a request's (CallArguments.forms).

        Raises InputError where they cannot be laid out so.
        """
        for some in _chunks(iter(self), _batch_size(wanted)):
            rows = [args for args, _ in some]
            size = _batch_size(wanted)
            padded = rows + [rows[-1]] * (size - len(rows))
            arguments = CallArguments(_stacked(padded, wanted), {})
            if arguments.forms != wanted:
                raise InputError(
                    f"examples look like {arguments.forms[1]}, requests like {wanted[1]}: the "
                    "accuracy of these requests cannot be measured"
                )
            targets = tuple(target for _, target in some) if self.are_labelled else ()
            yield Batch(arguments, targets, len(rows))


def checked_examples(given: Iterable[Any] | None, metric: Metric | None) -> Examples | None:
    """None where there are none. Raises InputError for what cannot be examples."""
    if given is None and metric is not None:
        raise InputError("metric is taken on examples; give EdgeSplit(model, examples=...) too")
    return None if given is None else Examples(given, metric)


def _iterated(given: Any) -> Iterator[Any]:
    """torch's data sets may have no more than a length and items."""
    if isinstance(given, Iterable):
        yield from given
    else:
        yield from (given[number] for number in range(len(given)))


def _read(given: Any) -> Iterator[Any]:
    """The same. Raises InputError where the user's data set raises anything."""
    try:
        yield from _iterated(given)
    except Exception as error:
        raise InputError(f"the examples could not be read: {error!r}") from error


def _pair(one: Any) -> tuple[tuple[Any, ...], Any]:
    if isinstance(one, Example):
        return (one.x,), one.label
    given, target = one if isinstance(one, (tuple, list)) and len(one) == 2 else (one, None)
    args = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    args = tuple(one.tensor() if isinstance(one, ImageFile) else one for one in args)
    if not args or not isinstance(args[0], torch.Tensor):
        raise InputError(
            "an example is a tensor, or a pair (tensor, target); of a model with several inputs "
            f"((tensor, ...), target). Given {type(one).__name__} of {type(given).__name__}; "
            "pictures become tensors by torchvision.transforms.ToTensor()"
        )
    return args, target


def _batch_size(wanted: SignatureKey) -> int:
    first = wanted[1][0]
    is_tensor = isinstance(first, tuple) and len(first) == 3 and len(first[0]) > 0
    return int(first[0][0]) if is_tensor else 1


def _stacked(rows: Sequence[tuple[Any, ...]], wanted: SignatureKey) -> tuple[Any, ...]:
    """One argument for each of the request's. Raises InputError where their numbers differ."""
    if len(rows[0]) != len(wanted[1]):
        raise InputError(
            f"examples have {len(rows[0])} inputs, the requests {len(wanted[1])} tensors and values"
        )
    columns = zip(*rows, strict=True)
    return tuple(_column(column, form) for column, form in zip(columns, wanted[1], strict=True))


def _column(column: Sequence[Any], form: Any) -> Any:
    if not isinstance(column[0], torch.Tensor):
        return column[0]
    shape, strides, dtype = form
    parts = [one if one.dim() == len(shape) else one[None] for one in column]
    try:
        joined = torch.cat(parts).detach()
    except RuntimeError as error:
        raise InputError(f"examples of different shapes cannot be one batch: {error}") from None
    if joined.is_floating_point() != dtype.is_floating_point:  # 0 to 1 would become 0, as uint8
        raise InputError(f"examples are of {joined.dtype}, requests of {dtype}; give them alike")
    joined = joined.to("cpu", dtype)
    if joined.shape != shape:
        return joined  # like() says what is wrong
    made = laid(joined, shape, strides)
    if not torch.equal(made, joined):  # the request repeats what this one does not
        raise InputError(
            f"requests repeat values in memory (strides {strides}), which these examples do not; "
            "infer on x.contiguous()"
        )
    return made


def _chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while some := list(itertools.islice(items, size)):
        yield some
