"""The exports of one model: made when arguments need one, kept for others that they take."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from edgesplit.caller.active_workload import ShippedProgram, seen_to_vary
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.node.process.messages import warn
from edgesplit.node.program.export.kept_exports import KeptExports
from edgesplit.node.program.export.model import ExportedModel, confirms, export_snapshot
from edgesplit.node.program.export.model_watch import GivenModel, ModelWatch
from edgesplit.node.program.export.shared_weights import on_shared_weights
from edgesplit.node.program.export.snapshot import Mode, parts_in_training, take_snapshot
from edgesplit.node.program.host_programs import HostPrograms, cache_folder
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.program.shipping import StorageNames, bytes_of, pack, storage_of
from edgesplit.node.program.store_folder import StoreFolder
from edgesplit.node.program.weight_file import storage_name

_MANY_EXPORTS = 8


class ManyExportsWarning(UserWarning):
    """The inputs differ so much that many of them need an export of their own."""


class TrainingModeWarning(UserWarning):
    """Parts of the model were left in training mode; they run in eval mode.

    Example:
        >>> warnings.simplefilter("error", TrainingModeWarning)  # raise instead of warn
    """


class ModelExports:
    """Of one model, which is never changed: a snapshot of it is taken at the first input.

    new_id: makes a program's name that no other one has. ready: waits for the tiers' processes; on
    a small machine two threads that compute in step would take seconds beside their start.
    """

    def __init__(
        self, model: GivenModel, mode: Mode, new_id: Callable[[], str], ready: Callable[[], None]
    ) -> None:
        self._model, self._mode, self._new_id, self._ready = model, mode, new_id, ready
        self._taken: tuple[nn.Module, ModelWatch] | None = None
        self._made: list[ShippedProgram] = []
        self._programs = HostPrograms()
        self._kept: KeptExports | None = None
        self._names = StorageNames()
        self.count = 0  # of all that were made

    def look(self) -> str:
        """What has changed in the model since the first input, if that was not said before."""
        return self._taken[1].look() if self._taken else ""

    def of(self, arguments: CallArguments) -> ShippedProgram:
        """The export that takes these arguments; kept, whatever becomes of this workload.

        One that takes them by its guards is judged by the model's own answer all the same.
        """
        call, snapshot = (arguments.args, arguments.kwargs), self._snapshot_of_model()
        for known in self._made:
            if known.exported.accepts(*call) and confirms(known.exported, snapshot, *call):
                return known
        varying = seen_to_vary(self._made, *call)
        exported, described = self._shared(self._exported(snapshot, *call, varying), snapshot)
        self._made.append(ShippedProgram(exported, described, self._new_id(), varying))
        self.count += 1
        if len(self._made) == _MANY_EXPORTS:
            warn(
                f"{_MANY_EXPORTS} exports of {self._model.name} by now: each plain value "
                "among the inputs needs its own, and so does each size that the model does not "
                "allow to vary. Pass values that change as tensors, pad to a few sizes",
                ManyExportsWarning,
            )
        return self._made[-1]

    def _exported(
        self,
        snapshot: nn.Module,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        varying: Sequence[Collection[int]],
    ) -> ExportedModel:
        """As this host kept it, else made anew and kept. Raises as export_snapshot."""
        if self._kept is None:
            self._kept = KeptExports(StoreFolder(cache_folder()).exports, snapshot)
        found = self._kept.find(args, kwargs, varying, self._ready)
        if found is not None:
            return found
        made = export_snapshot(snapshot, args, kwargs, varying)
        self._kept.keep(made, args, kwargs, varying)
        return made

    def drop(self, gone: ShippedProgram) -> None:
        """Forget an export that no workload uses any more."""
        self._made.remove(gone)
        name = gone.described.name
        if name not in {known.described.name for known in self._made}:
            self._programs.done(name)

    def close(self) -> None:
        """Let this host give up the programs that only this session used."""
        self._programs.close()

    def _shared(
        self, exported: ExportedModel, snapshot: nn.Module
    ) -> tuple[ExportedModel, DescribedProgram]:
        """The export on the weights that this host keeps, where it can; and as it is sent."""
        packed = pack(exported.program, self._names)
        described = DescribedProgram.of(packed)
        kept = self._programs.mapped(described.description, packed.by_name)
        if kept is None:
            return exported, described
        program = on_shared_weights(exported.program, snapshot, kept)
        self._names = StorageNames()  # the snapshot lies in these storages now
        for weight, form in zip(program.weights, kept.forms, strict=True):
            self._names.note(weight.untyped_storage(), kept.names[form.storage])
        return replace(exported, program=program), replace(described, packed=kept)

    def _shared_copy(self, storage: torch.UntypedStorage) -> torch.UntypedStorage | None:
        """In the host's cache at once, so that the model is never there twice."""
        found = bytes_of(storage)
        name = storage_name(found)
        shared = self._programs.shared(name, found)
        if shared is None:
            return None
        copy = storage_of(shared)
        self._names.note(copy, name)
        return copy

    def _snapshot_of_model(self) -> nn.Module:
        """The model as it was at the first input."""
        if self._taken is None:
            model = self._model.get()
            if self._mode == "eval" and (parts := parts_in_training(model)):
                warn(
                    f"{self._model.name} is in eval mode but for {', '.join(parts)}; "
                    "EdgeSplit runs all of it in eval mode. Config(mode='as-is') runs it as it is, "
                    "model.eval() beforehand ends this warning",
                    TrainingModeWarning,
                )
            snapshot = take_snapshot(model, self._mode, self._shared_copy)
            self._taken = snapshot, ModelWatch(model, snapshot)
            self._model.let_go(snapshot)
        return self._taken[0]
