"""One row of the corpus: a model as strangers write it, its inputs, and what is right for it.

Nothing here knows EdgeSplit. What a row promises is tried by test_node.py and test_session.py.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# Positional arguments, or keywords by name.
Inputs = tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class ModelRow:
    """A model and what EdgeSplit makes of it.

    inputs: draws one input from torch's generator; other: one of another shape. refused: the
    sentence that refuses the model, a regular expression, or empty where its answer is right.
    is_random: draws numbers in eval mode, so only runs with the same seed agree.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    other: Callable[[], Inputs] | None = None
    refused: str = ""
    is_random: bool = False

    def model(self) -> nn.Module:
        """In eval mode, with weights that depend on the name alone."""
        return _seeded(self.name, self.make).eval()

    def call(self, seed: int = 0) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of one call: positional ones and keywords; another seed gives other values."""
        return _arguments(_seeded(f"{self.name} {seed}", self.inputs))

    def other_call(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Arguments of another shape, where the model takes any."""
        return _arguments(_seeded(self.name, self.other)) if self.other else None


def _seeded(text: str, draw: Callable[[], Any]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(text.encode()))
        return draw()


def _arguments(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return ((), inputs) if isinstance(inputs, dict) else (inputs, {})


def images(*shape: int) -> Callable[[], Inputs]:
    """Draws one float tensor of that shape."""
    return lambda: (torch.randn(shape),)


def tokens(*shape: int, below: int = 50) -> Callable[[], Inputs]:
    """Draws one tensor of token numbers of that shape."""
    return lambda: (torch.randint(1, below, shape),)
