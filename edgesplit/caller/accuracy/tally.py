"""How answers compare with the exact ones: a count for each kind of model and of examples."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from edgesplit.caller.accuracy.examples import Examples, Metric
from edgesplit.core.accuracy import Loss, mean_loss, paired_loss, share_of
from edgesplit.node.program.export.trees import flatten_tree, tensors_of

_SMALLEST = 1e-30  # of a norm that may divide


class Tally(Protocol):
    """Counts examples that were answered twice."""

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        """One request's two results, as infer() returns them; of its rows the first n_real count.

        targets: one per row; empty where there are none.
        """

    @property
    def loss(self) -> Loss:
        """So far."""


class _TopOne:
    """Of a classifier with labels: right answers lost, and won."""

    def __init__(self) -> None:
        self._worse = self._better = self._count = 0

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        labels = torch.as_tensor([int(target) for target in targets[:n_real]])
        was = _classes(exact)[:n_real] == labels
        now = _classes(other)[:n_real] == labels
        self._worse += int((was & ~now).sum())
        self._better += int((now & ~was).sum())
        self._count += n_real

    @property
    def loss(self) -> Loss:
        return paired_loss(self._worse, self._better, self._count)


class _Agreement:
    """Of a classifier without labels: answers that have another class than the exact ones."""

    def __init__(self) -> None:
        self._different = self._count = 0

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        same = _classes(exact)[:n_real] == _classes(other)[:n_real]
        self._different += n_real - int(same.sum())
        self._count += n_real

    @property
    def loss(self) -> Loss:
        return share_of(self._different, self._count)


class _RelativeError:
    """Of what is no classifier: the norm of the difference, as a share of the answer's."""

    def __init__(self) -> None:
        self._errors: list[float] = []

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        pairs = list(zip(_tensors(exact), _tensors(other), strict=True))
        apart = sum(float((b.double() - a.double()).square().sum()) for a, b in pairs)
        whole = sum(float(a.double().square().sum()) for a, _ in pairs)
        self._errors.append((apart / max(whole, _SMALLEST)) ** 0.5)

    @property
    def loss(self) -> Loss:
        return mean_loss(self._errors)


class _ByMetric:
    """By the user's metric: how much less the answers are worth."""

    def __init__(self, metric: Metric) -> None:
        self._metric, self._losses = metric, list[float]()

    def add(self, exact: Any, other: Any, targets: Sequence[Any], n_real: int) -> None:
        known = torch.as_tensor(targets) if _are_numbers(targets) else list(targets)
        results = (_rows(result, n_real) for result in (exact, other))
        before, after = (float(self._metric(result, known)) for result in results)
        self._losses.append(before - after)

    @property
    def loss(self) -> Loss:
        return mean_loss(self._losses)


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
    return _tensors(result)[0].argmax(dim=1)


def _tensors(result: Any) -> list[torch.Tensor]:
    return tensors_of(flatten_tree(result)[0])


def _rows(result: Any, n_real: int) -> Any:
    """Those that stand for an example."""
    return result[:n_real] if isinstance(result, torch.Tensor) and result.dim() else result


def _are_numbers(targets: Sequence[Any]) -> bool:
    return all(isinstance(one, (int, float, torch.Tensor)) for one in targets)
