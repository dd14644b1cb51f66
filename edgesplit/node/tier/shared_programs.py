"""What the sessions of a host have in common: programs, workloads, the ranges prepared for them.

Two sessions with the same program on the same forms have one workload here: weights, prepared
ranges and what is known of its runtimes are there once. What nobody uses any more is dropped.
"""

import gc
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from edgesplit.errors import HeadroomError, WireError
from edgesplit.node.meter.host_state import computing_state
from edgesplit.node.process.headroom import require_headroom
from edgesplit.node.program.host_programs import HostPrograms
from edgesplit.node.program.packed import PackedProgram
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.runtime.engine import Engine
from edgesplit.node.runtime.guard import Guarded
from edgesplit.node.runtime.recheck import Recheck
from edgesplit.node.tier.kept_profiles import KeptProfiles
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.tier_workload import TierWorkload
from edgesplit.node.transport.tensor_form import Forms
from edgesplit.node.transport.tensor_kind import has_torch, kind_here

# Ranges prepared in other runtimes than eager torch, which keep memory of their own.
_PREPARED_BYTES, _PREPARED_COUNT = 2 << 30, 16
_Threading = tuple[int, bool]  # threads, whether denormals count as 0
_EngineMaker = Callable[[tuple[Forms, ...]], Engine]


@dataclass(eq=False)
class _Loaded:
    """A program in use. users: how many have loaded it."""

    packed: PackedProgram
    users: int = 0
    engines: dict[_Threading, _EngineMaker] = field(default_factory=dict)


class SharedPrograms:
    """Of one host. programs: where they are kept."""

    def __init__(self) -> None:
        self.programs = HostPrograms()
        self._prepared: PreparedCache[Guarded] = PreparedCache(_PREPARED_BYTES, _PREPARED_COUNT)
        self._loaded: dict[str, _Loaded] = {}
        self._workloads: dict[str, TierWorkload] = {}
        self._users: dict[str, int] = {}  # of each workload
        self._lock = threading.RLock()

    def load(self, name: str, settings: ServeSettings) -> int:
        """Get ready to run a program that this host has; returns its number of layers.

        One more release() is to come. Raises WireError where it is not here, HeadroomError where
        weights that no other program here reads would leave too little memory free.
        """
        with self._lock:
            loaded = self._loaded.get(name) or _Loaded(self._use(name))
            key = settings.threads, settings.flushes_denormals
            if key not in loaded.engines:
                try:
                    loaded.engines[key] = _engine_maker(loaded.packed, key)
                except BaseException:  # such as an operator that nobody has registered here
                    if not loaded.users:
                        self.programs.done(name)
                    raise
                gc.freeze()  # a full collection over torch's objects takes tens of milliseconds
            loaded.users += 1
            self._loaded[name] = loaded
            return loaded.packed.n_layers

    def _use(self, name: str) -> PackedProgram:
        packed = self.programs.use(name)
        if packed is None:
            raise WireError(f"program {name} is not on this host; send it again")
        held = {one for loaded in self._loaded.values() for one in loaded.packed.by_name}
        new = [weights.nbytes for one, weights in packed.by_name.items() if one not in held]
        is_mapped = self.programs.own_folder(name) is not None  # else it has its memory already
        try:
            require_headroom(sum(new) if is_mapped else 0, "this model")
        except HeadroomError:
            self.programs.done(name)
            raise
        return packed

    def release(self, name: str) -> None:
        """One user of a program less; the last one gives it up."""
        with self._lock:
            loaded = self._loaded[name]
            loaded.users -= 1
            if loaded.users:
                return
            del self._loaded[name]
            self.programs.done(name)

    def workload(
        self, name: str, settings: ServeSettings, payloads: tuple[Forms, ...]
    ) -> TierWorkload:
        """That program on payloads of these forms at each cut; one more drop() is to come."""
        key = settings.threads, settings.flushes_denormals
        told = f"{key} {settings.exactness} {payloads}"
        workload_id = f"{name} {hashlib.sha256(told.encode()).hexdigest()[:16]}"
        with self._lock:
            made = self._workloads.get(workload_id)
            if made is None:
                engine = self._loaded[name].engines[key](payloads)
                kept = self._kept_profiles(name, f"{key[0]} {key[1]} {payloads[0]}")
                recheck = Recheck(partial(kind_here().settle, *key))
                made = TierWorkload(workload_id, engine, self._prepared, recheck, kept=kept)
                self._workloads[workload_id] = made
            self._users[workload_id] = self._users.get(workload_id, 0) + 1
            return made

    def drop(self, workload: TierWorkload) -> None:
        """One user of a workload less; after the last one no range of it is kept."""
        with self._lock:
            self._users[workload.id] -= 1
            if self._users[workload.id]:
                return
            del self._users[workload.id], self._workloads[workload.id]
        workload.drop_prepared()
        workload.recheck.stop()

    def close(self) -> None:
        """Check no more answers, use no more programs."""
        for workload in list(self._workloads.values()):
            workload.recheck.stop()
        self.programs.close()

    def _kept_profiles(self, name: str, form: str) -> KeptProfiles:
        return KeptProfiles(self.programs.own_folder(name), form, computing_state())


def _engine_maker(packed: PackedProgram, key: _Threading) -> _EngineMaker:
    """What makes of the payloads' forms the program's engine, of the kind that this host has.

    Raises as shipping.unpack.
    """
    threads, flushes = key
    if not has_torch():
        from edgesplit.node.runtime.array_engine import ArrayEngine

        return lambda forms: ArrayEngine(packed, forms, threads, flushes)
    from edgesplit.node.program.shipping import unpack
    from edgesplit.node.runtime.torch_engine import TorchEngine

    program = unpack(packed)
    return lambda forms: TorchEngine(program, forms, threads, flushes)
