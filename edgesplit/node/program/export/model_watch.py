"""The caller's model, and whether it has other weights by now than its snapshot.

A look takes some 0.2 us per tensor and is meant for the time in which tiers compute. What has been
moved, reloaded or restored with the same values does not count.
"""

import weakref
from collections.abc import Iterator
from itertools import starmap
from operator import is_
from typing import Any

import torch
from torch import nn

from edgesplit.node.program.export.snapshot import uncompiled

_NAMED = 3  # names in the message


class ModelChangedWarning(UserWarning):
    """The model changed after the first input; answers are still those of its snapshot.

    Example:
        >>> warnings.simplefilter("error", ModelChangedWarning)  # raise instead of warn
    """


class GivenModel:
    """The caller's model: kept alive until there is a copy, and then for as long as its owner does.

    So the weights of a model that nobody else needs are not held twice. Once it is gone its copy
    stands for it, such as where a session that was interrupted while it opened is opened again.
    """

    def __init__(self, model: nn.Module) -> None:
        self.name = type(model).__name__
        self._held = model
        self._seen = weakref.ref(model)

    def get(self) -> nn.Module:
        """The model, or what stands for it."""
        return self._seen() or self._held

    def let_go(self, copy: nn.Module) -> None:
        """Do without it from now on; the copy is as it was."""
        self._held = copy


class ModelWatch:
    """Looks at one model, while there is one; says once what has changed."""

    def __init__(self, model: nn.Module, snapshot: nn.Module) -> None:
        self._name, self._snapshot = type(uncompiled(model)).__name__, snapshot
        self._model: weakref.ref[nn.Module] = weakref.ref(uncompiled(model))
        self._has_told = False
        self._noted: _Noted | None = _Noted(uncompiled(model))
        weakref.finalize(uncompiled(model), _forget, weakref.ref(self)).atexit = False

    def look(self) -> str:
        """What has changed, for people; empty where nothing has, or where it was said before."""
        model, noted = self._model(), self._noted
        if self._has_told or model is None or noted is None or noted.still_holds():
            return ""
        changed = list(self._differing(model))
        if not changed:
            self._noted = _Noted(model)
            return ""
        self._has_told = True
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        return (
            f"{self._name} was changed after the first input "
            f"({', '.join(changed[:_NAMED])}{more}); answers are still those of the model as it "
            "was then. Make a new EdgeSplit for the model as it is now"
        )

    def _differing(self, model: nn.Module) -> Iterator[str]:
        """Names whose values are others than the snapshot's, or that only one of them has."""
        now, then = _tensors(model), _tensors(self._snapshot)
        for name in dict.fromkeys((*then, *now)):
            if name not in now:
                yield f"{name} is gone"
            elif name not in then:
                yield f"{name} is new"
            elif not _is_same(now[name], then[name]):
                yield name

    def forget(self) -> None:
        """Hold nothing of a model that is gone."""
        self._noted = None


def _forget(watch: "weakref.ref[ModelWatch]") -> None:
    if (found := watch()) is not None:
        found.forget()


class _Noted:
    """What is where in a model."""

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        dicts = [d for m in modules for d in (m._modules, m._parameters, m._buffers)]
        self._dicts, self._sizes = dicts, list(map(len, dicts))
        self._places = [(d, name, held) for d in dicts for name, held in d.items()]
        held = [x for _, _, x in self._places if isinstance(x, torch.Tensor)]
        self._counted = [x for x in held if not x.is_inference()]
        self._versions = [x._version for x in self._counted]
        self._moving = [x for x in held if x.layout is torch.strided and not x.is_meta]
        self._pointers = [x.data_ptr() for x in self._moving]
        # One element of each: `weight.data.mul_()` leaves no other trace.
        self._samples = [s for x in self._moving if (s := _sample(x)) is not None]
        self._bytes = _bytes(self._samples)

    def still_holds(self) -> bool:
        """Whether all of it is where it was, as far as a short look tells."""
        return (
            all(starmap(is_, [(d.get(name), held) for d, name, held in self._places]))
            and [len(d) for d in self._dicts] == self._sizes
            and [x._version for x in self._counted] == self._versions
            and [x.data_ptr() for x in self._moving] == self._pointers
            and torch.equal(_bytes(self._samples), self._bytes)
        )


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    found.update(model.named_buffers(remove_duplicate=False))
    return found


def _is_same(now: torch.Tensor, then: torch.Tensor) -> bool:
    if now.shape != then.shape or now.dtype != then.dtype or now.is_meta:
        return False
    with torch.no_grad():
        here = now.detach().cpu()
        return torch.equal(here, then) or bool(((here == then) | (here != here)).all())


def _sample(tensor: torch.Tensor) -> torch.Tensor | None:
    """The bytes of the element in the middle, as a view; None where there is no such view."""
    if tensor.device.type != "cpu" or not tensor.numel():
        return None
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        middle = tensor.detach()[tuple(size // 2 for size in tensor.shape)]
        return middle.reshape(1).view(torch.uint8) if not middle.is_complex() else None


def _bytes(samples: list[torch.Tensor]) -> Any:
    with torch.no_grad():
        return torch.cat(samples) if samples else torch.empty(0)
