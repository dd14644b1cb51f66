"""Seeded inputs that look like the user's own, to judge a runtime on: the first one may be zeros.

Each kind shows what the others hide: ties and halves, zeros, other signs and magnitudes. Whole
numbers stay where the model takes them: an index may be valid in a narrow range only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from edgesplit.node.program.program import Program, value_bytes
from edgesplit.node.program.run_slot import RunSlot, unslotted
from edgesplit.node.program.segment import Segment
from edgesplit.node.program.structure import Structure, leaves
from edgesplit.node.runtime.check import Run, Trial, difference
from edgesplit.node.transport.tensor_form import TensorForm
from edgesplit.node.transport.tensors import forms_of, zeros

Draw = Callable[[tuple[int, ...], torch.Generator], torch.Tensor]
Range = tuple[int, int]
Span = tuple[float, float]  # of an example's elements

_NUDGE = 2.0**-20
_STEADY = 1e-5
_KEPT_BYTES = 1 << 20  # of eager torch's outputs, per trial
# What torch's operators raise for values that they do not take, such as an index out of range.
_REFUSALS = (RuntimeError, IndexError, ValueError, ArithmeticError)


@dataclass(frozen=True)
class NoiseKind:
    """How the elements of one noise payload are drawn.

    floats: in units of the example's largest element where is_scaled, else as they are. whole: how
    far whole numbers go, as `_ranges` names it. true_share: of booleans. is_far: from what the user
    is likely to give.
    """

    name: str
    floats: Draw
    is_scaled: bool
    whole: str
    true_share: float
    is_far: bool = False


def _normal(size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.randn(size, generator=generator)


def _uniform(size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.rand(size, generator=generator)


def _coarse(size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Halves from -4 to 4: equal elements, zeros, what lies between two whole numbers."""
    return torch.randint(-8, 9, size, generator=generator) / 2


def _sparse(size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Half of the elements are zero, and some rows are nothing else."""
    keeps = torch.rand(size, generator=generator) < 0.5
    if size:
        keeps &= torch.rand((*size[:-1], 1), generator=generator) < 0.8
    return _normal(size, generator) * keeps


# In the order in which they are tried where time is short.
KINDS = (
    NoiseKind("normal", _normal, True, "signed", 0.5),
    NoiseKind("coarse", _coarse, False, "observed", 0.1),
    NoiseKind("large", lambda size, g: 100 * _normal(size, g), True, "any", 0.9, is_far=True),
    NoiseKind("sparse", _sparse, True, "observed", 0.02),
    NoiseKind("uniform", _uniform, True, "observed", 0.5),
    NoiseKind("small", lambda size, g: 0.01 * _normal(size, g), True, "few", 0.5),
)


# A logarithm has no answer for negative numbers, and e to the power of 100 is too large.
_SOFTENED: tuple[Callable[[torch.Tensor, Span], torch.Tensor], ...] = (
    lambda drawn, span: drawn,
    lambda drawn, span: drawn / 10,
    lambda drawn, span: drawn.abs(),
    lambda drawn, span: drawn.abs() / 10,
    lambda drawn, span: drawn.clamp(*span),
)


@dataclass(frozen=True)
class Draft:
    """How far noise goes: drafts are tried in turn until the model takes one.

    softened: place in _SOFTENED. reach: which of the ranges that the kind names for whole numbers,
    from the widest; None: they are the example's own.
    """

    softened: int
    reach: int | None


def drafts(values: Sequence[Any], kind: NoiseKind, branches: bool) -> list[Draft]:
    """The ways to draw noise of that kind, the farthest first.

    branches: whether whole numbers may decide how often a loop runs, and therefore stay.
    """
    reaches: list[int | None] = [0]
    if any(isinstance(value, torch.Tensor) and _is_whole(value) for value in values):
        most = max(len(_ranges(value, kind.whole)) for value in values)
        reaches = [None] if branches else [*range(most), None]
    has_floats = any(isinstance(v, torch.Tensor) and v.is_floating_point() for v in values)
    softened = range(len(_SOFTENED)) if has_floats else range(1)
    return [Draft(soft, reach) for reach in reaches for soft in softened]


def noise_like(values: Sequence[Any], kind: NoiseKind, draft: Draft) -> list[Any]:
    """A payload of the form of `values`, always the same. Plain numbers are sizes and stay."""
    return [_drawn(value, kind, draft, at) for at, value in enumerate(values)]


def has_branches(structure: Structure) -> bool:
    """Whether control flow is in the program: torch.cond, while_loop."""
    ops = (op for layer in structure.layers for op in layer.ops)
    return any(isinstance(leaf, Structure) for op in ops for leaf in leaves((op.args, op.kwargs)))


def _drawn(value: Any, kind: NoiseKind, draft: Draft, seed: int) -> Any:
    if not isinstance(value, torch.Tensor) or (draft.reach is None and _is_whole(value)):
        return value
    generator = torch.Generator().manual_seed(1000 * KINDS.index(kind) + seed)
    (form,) = forms_of([value])
    assert isinstance(form, TensorForm)
    size = _places(form)
    if value.dtype == torch.bool:
        drawn = torch.rand(size, generator=generator) < kind.true_share
    elif _is_whole(value):
        ranges = _ranges(value, kind.whole)
        low, high = ranges[min(draft.reach or 0, len(ranges) - 1)]
        drawn = torch.randint(low, high, size, generator=generator)
    else:
        span = _span(value)
        drawn = _SOFTENED[draft.softened](_scaled(kind.floats(size, generator), kind, span), span)
        real = value.real.dtype if value.is_complex() else value.dtype
        most = torch.finfo(real).max / 4
        drawn = drawn.clamp(-most, most)
    made = zeros(form)
    made[tuple(slice(0, place) for place in size)].copy_(drawn)
    return made


def _scaled(drawn: torch.Tensor, kind: NoiseKind, span: Span) -> torch.Tensor:
    low, high = span
    drawn = drawn.double()
    if kind.name == "uniform":
        return drawn * (high - low) + low
    return drawn * max(abs(low), abs(high)) if kind.is_scaled else drawn


def _span(value: torch.Tensor) -> Span:
    """The least and the largest finite element, of one that is constant as if it were noise."""
    real = (value.abs() if value.is_complex() else value).double()
    finite = real[torch.isfinite(real)]
    if not finite.numel():
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if low < high:
        return low, high
    most = max(1.0, abs(low))
    return -most, most


def _ranges(value: Any, name: str) -> list[Range]:
    """Half-open ranges to draw whole numbers from, from the widest to the most careful one."""
    if not isinstance(value, torch.Tensor) or not _is_whole(value) or not value.numel():
        return [(0, 1)]
    low, high = int(value.min()), int(value.max())
    most = max(1, abs(low), abs(high))
    observed = [(low, high + 1)] if low < high else [(0, 100), (0, 10), (0, 2)]
    limits = torch.iinfo(value.dtype)
    # torch.randint takes bounds of 63 bits. The least of all divided by -1 ends the process.
    least, largest = max(limits.min + 1, -(2**62)), min(limits.max, 2**62)
    least = min(least, low)
    wide = {
        "observed": [],
        "few": [(low, min(low + 2, high + 1))] if low < high else [],
        "signed": [(-3 * most, 3 * most + 1)],
        "any": [(least, largest), (-1000 * most, 1000 * most), (-3 * most, 3 * most + 1)],
    }[name]
    within = ((max(a, least), min(b, largest + 1)) for a, b in (*wide, *observed))
    return [(a, b) for a, b in within if a < b]


def _is_whole(value: torch.Tensor) -> bool:
    return not (value.dtype == torch.bool or value.is_floating_point() or value.is_complex())


def _places(form: TensorForm) -> tuple[int, ...]:
    """The size that is drawn: an expanded dimension has one place for all of its elements."""
    dims = zip(form.shape, form.strides, strict=True)
    return tuple(size if stride else min(size, 1) for size, stride in dims)


def noise_trials(
    program: Program, values: Sequence[Any], run_slot: RunSlot = unslotted
) -> tuple[Trial, ...]:
    """One of each kind that can tell something of runtimes of the program, by its eager runs.

    Left out are kinds that the model refuses, and kinds that its answer is not finite on where the
    one on `values` is.
    """
    whole = program.segment(0, len(program))
    any_answer = not _is_finite(run_slot(partial(whole, list(values))))
    branches = has_branches(program.structure)
    found: list[Trial] = []
    for kind in KINDS:
        for draft in drafts(values, kind, branches):
            make = partial(noise_like, values, kind, draft)
            made = run_slot(partial(_telling, whole, make, kind, any_answer))
            if made is not None:
                found.append(Trial(f"{kind.name} noise", make, _known(whole, made)))
                break
    return tuple(found)


def _telling(
    whole: Segment, make: Callable[[], list[Any]], kind: NoiseKind, any_answer: bool
) -> list[Any] | None:
    """What the model makes of the noise, if runtimes can be judged by it."""
    try:
        payload = make()
        made = whole(payload)
        if not (any_answer or _is_finite(made)):
            return None
        # Far from what the user gives, rounding alone may make a large difference.
        if kind.is_far and difference(whole(_nudged(payload)), made) > _STEADY:
            return None
    except _REFUSALS:
        return None
    return made


def _known(whole: Segment, made: list[Any]) -> Run:
    """Gives what was made, so that it is not computed for each runtime; anew where it is large."""
    if sum(map(value_bytes, made)) > _KEPT_BYTES:
        return whole
    return lambda _: made


def _nudged(payload: Sequence[Any]) -> list[Any]:
    return [
        value * (1 + _NUDGE)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for value in payload
    ]


def _is_finite(payload: Sequence[Any]) -> bool:
    return all(
        bool(torch.isfinite(value).all()) for value in payload if isinstance(value, torch.Tensor)
    )
