"""What a program computes, as plain values: compared, hashed and shipped as they are.

A value is known by its number: inputs come first, then every operator's result in order. The same
numbers hold in every process, since nothing is traced a second time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ref:
    """Stands for the value of that number in an operator's arguments."""

    number: int


@dataclass(frozen=True)
class Weight:
    """Stands for a parameter, buffer or folded constant: its position in the list of weights."""

    index: int


@dataclass(frozen=True)
class Operator:
    """Stands for an operator that another one is given, by its name."""

    name: str


@dataclass(frozen=True)
class Op:
    """One call. args and kwargs: Ref, Weight, Structure (a branch), Operator, plain constants."""

    target: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: int


@dataclass(frozen=True)
class Layer:
    """Operators that must stay together: one, or one with several outputs and their getitems."""

    name: str
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class Structure:
    """Inputs are numbered 0..n_inputs. outputs holds Ref, Weight and plain constants.

    Of a branch that returns a single value, such as a loop's condition, outputs is that value.
    """

    n_inputs: int
    layers: tuple[Layer, ...]
    outputs: Any


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """`value` with `function` applied to everything inside its tuples, lists, dicts and slices."""
    if isinstance(value, (tuple, list)):
        items = [map_leaves(function, item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {key: map_leaves(function, item) for key, item in value.items()}
    if isinstance(value, slice):
        parts = (value.start, value.stop, value.step)
        return slice(*(map_leaves(function, part) for part in parts))
    return function(value)


def leaves(value: Any) -> Iterator[Any]:
    """Everything inside the tuples, lists, dicts and slices of `value`, in order."""
    found: list[Any] = []
    map_leaves(found.append, value)
    return iter(found)


def used(value: Any) -> set[int]:
    """Numbers of the values that `value` refers to."""
    return {leaf.number for leaf in leaves(value) if isinstance(leaf, Ref)}


def used_weights(layer: Layer) -> set[int]:
    """Positions of the weights that the layer reads."""
    return {
        leaf.index
        for op in layer.ops
        for leaf in leaves((op.args, op.kwargs))
        if isinstance(leaf, Weight)
    }


def ops_of(structure: Structure) -> Iterator[Op]:
    """Every call, also those inside of branches."""
    for layer in structure.layers:
        for op in layer.ops:
            yield op
            for leaf in leaves((op.args, op.kwargs)):
                if isinstance(leaf, Structure):
                    yield from ops_of(leaf)


def live_at_cuts(structure: Structure) -> tuple[tuple[int, ...], ...]:
    """Per cut 0..n the numbers of the values made before it and needed after it, ascending.

    At cut 0 these are the inputs that are used at all, at cut n the values among the outputs.
    """
    n = len(structure.layers)
    first = dict.fromkeys(range(structure.n_inputs), 0)
    last = dict.fromkeys(used(structure.outputs), n)
    for position, layer in enumerate(structure.layers):
        for op in layer.ops:
            first[op.out] = position + 1
            for number in used((op.args, op.kwargs)):
                last[number] = max(position, last.get(number, 0))
    live_values: list[list[int]] = [[] for _ in range(n + 1)]
    for number in sorted(last):
        for cut in range(first[number], last[number] + 1):
            live_values[cut].append(number)
    return tuple(tuple(numbers) for numbers in live_values)
