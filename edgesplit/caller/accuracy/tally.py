"""How answers compare with the exact ones: a count for each kind of model and of examples."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from edgesplit.caller.accuracy.examples import Examples, Metric
from edgesplit.core.accuracy import Loss, Z, mean_loss, paired_loss, share_of
from edgesplit.errors import InputError
from edgesplit.node.program.export.trees import flatten_tree, tensors_of

_SMALLEST = 1e-30  # of a norm that may divide
_WHOLLY = 1.0  # the error of what is no number
_MANY = 50  # examples of which a model that is of use answers one at least


class Tally(Protocol):
    """Counts examples that were answered twice."""

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        """One request's two results, as infer() returns them; of its rows the first n_real count.

        targets: one per row; empty where there are none.
        """

    def loss(self, z: float = Z) -> Loss:
        """So far; z: so many standard deviations wide to each side."""

    def check(self) -> None:
        """Raise InputError where targets cannot be these examples'."""


class _Unchecked:
    """Nothing can be wrong with what there is."""

    def check(self) -> None:
        """It is as it is."""


class _TopOne:
    """Of a classifier with labels: right answers lost, and won."""

    def __init__(self) -> None:
        self._worse = self._better = self._count = self._right = 0

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        labels = torch.as_tensor([_class_number(target) for target in targets[:n_real]])
        was = _classes(exact)[:n_real] == labels
        now = _classes(other)[:n_real] == labels
        self._worse += int((was & ~now).sum())
        self._better += int((now & ~was).sum())
        self._count += n_real
        self._right += int(was.sum())

    def loss(self, z: float = Z) -> Loss:
        return paired_loss(self._worse, self._better, self._count, z)

    def check(self) -> None:
        """Raise InputError where there is no right answer to lose, so that nothing would show."""
        if self._count >= _MANY and not self._right:
            raise InputError(
                f"of {self._count} examples the model itself answers none as its label says; give "
                "the classes' numbers as the model counts them, from 0"
            )


class _Agreement(_Unchecked):
    """Of a classifier without labels: answers that have another class than the exact ones."""

    def __init__(self) -> None:
        self._different = self._count = 0

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        same = _classes(exact)[:n_real] == _classes(other)[:n_real]
        self._different += n_real - int(same.sum())
        self._count += n_real

    def loss(self, z: float = Z) -> Loss:
        return share_of(self._different, self._count, z)


class _RelativeError(_Unchecked):
    """Of what is no classifier: the norm of the difference, as a share of the answer's."""

    def __init__(self) -> None:
        self._errors: list[float] = []

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        squares = [_squares(*pair) for pair in zip(_tensors(exact), _tensors(other), strict=True)]
        apart, whole = (sum(column) for column in zip(*squares, strict=True))
        error = (apart / max(whole, _SMALLEST)) ** 0.5
        self._errors.append(error if math.isfinite(error) else _WHOLLY)

    def loss(self, z: float = Z) -> Loss:
        return mean_loss(self._errors, z)


class _ByMetric(_Unchecked):
    """By the user's metric: how much less the answers are worth."""

    def __init__(self, metric: Metric) -> None:
        self._metric, self._losses = metric, list[float]()

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        known = _together(targets)
        results = (_rows(result, n_real) for result in (exact, other))
        try:
            before, after = (float(self._metric(result, known)) for result in results)
        except Exception as error:  # the user's function raises anything
            raise InputError(f"metric(outputs, targets) raised {error!r}") from error
        self._losses.append(before - after)

    def loss(self, z: float = Z) -> Loss:
        return mean_loss(self._losses, z)


def tally_for(examples: Examples | None, result: Any) -> Tally:
    """A new tally for that model's results. examples None: nobody knows what would be right."""
    if examples is not None and examples.metric is not None:
        return _ByMetric(examples.metric)
    if not is_classified(result):
        return _RelativeError()
    return _TopOne() if examples is not None and examples.are_labelled else _Agreement()


def is_classified(result: Any) -> bool:
    """Whether a result is a score for each of several classes, one row per example."""
    tensors = _tensors(result)
    return (
        len(tensors) == 1
        and tensors[0].dim() == 2
        and tensors[0].shape[1] > 1
        and tensors[0].is_floating_point()
    )


def _classes(result: Any) -> torch.Tensor:
    """Of each row; -1 where it has something that is no number."""
    scores = _tensors(result)[0]
    return scores.argmax(dim=1).masked_fill(scores.isnan().any(dim=1), -1)


def _class_number(target: Any) -> int:
    try:
        number = float(target)
        if number.is_integer():
            return int(number)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several
        pass
    raise InputError(f"a label is a class's number, given {target!r}; other targets take metric=")


def _squares(exact: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Of the difference and of what is exact. Infinity and NaN at the same places are alike."""
    a, b = (one if one.is_complex() else one.double() for one in (exact, other))
    alike = (a == b) | (a.isnan() & b.isnan())
    apart = (b - a).masked_fill(alike, 0).abs().square().sum()
    return float(apart), float(a.masked_fill(~a.isfinite(), 0).abs().square().sum())


def _tensors(result: Any) -> list[torch.Tensor]:
    return tensors_of(flatten_tree(result)[0])


def _rows(result: Any, n_real: int) -> Any:
    """Those that stand for an example, of each tensor of a result."""
    leaves, tree = flatten_tree(result)
    rows = [
        leaf[:n_real] if isinstance(leaf, torch.Tensor) and leaf.dim() else leaf for leaf in leaves
    ]
    return tree.unflatten(rows)


def _together(targets: Sequence[Any]) -> Any:
    """Numbers, and tensors of one shape, as one tensor with a row each; others as they are."""
    if all(isinstance(one, (int, float)) for one in targets):
        return torch.as_tensor(targets)
    if all(isinstance(one, torch.Tensor) and one.shape == targets[0].shape for one in targets):
        return torch.stack(list(targets))
    return list(targets)
