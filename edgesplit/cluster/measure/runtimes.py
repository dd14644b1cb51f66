"""Which runtimes the tiers can run a workload in: offered, measured, named where they cannot.

A tier without torch is measured against what eager torch gives in the caller's process.
"""

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgesplit.cluster.actors.call_log import ActorCallLog
from edgesplit.cluster.measure.graphs import write_graph
from edgesplit.cluster.ray.answers import Get
from edgesplit.cluster.ray.shared_value import SharedValue
from edgesplit.config import Config
from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.core.tier import Tier
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.profiler import profile_layers
from edgesplit.node.program.program import Program
from edgesplit.node.runtime.check import Trial
from edgesplit.node.runtime.lossy import is_lossy, why_not_measured
from edgesplit.node.runtime.measure import EXAMPLE, FEWEST_TRIALS
from edgesplit.node.runtime.noise import noise_trials
from edgesplit.node.runtime.table import RUNTIMES, without_torch
from edgesplit.node.tier.tier_session import Opened
from edgesplit.node.transport.packed_payload import PackedTrial, pack_payload

_SENT_BYTES = 16 << 20  # of trials, to a tier that may be behind a slow link
_MEASURE_TIMEOUT_S = 600.0  # beside requests: VGG-16 on a slow tier takes minutes


class UnusedRuntimeWarning(UserWarning):
    """A runtime that was wanted is not used on a tier; the message says why."""


@dataclass(frozen=True)
class Offered:
    """One tier and one runtime that was wanted there: its layer times, or why there are none."""

    tier: str
    runtime: str
    times: LayerTimes | None = None
    why: str = ""

    def scaled(self, factor: float) -> "Offered":
        """The same with so many times the seconds."""
        if self.times is None:
            return self
        times = replace(self.times, layer_s=tuple(s * factor for s in self.times.layer_s))
        return replace(self, times=times)

    def without_known_loss(self) -> "Offered":
        """The same; layer times of a lossy runtime say that its loss is not measured yet."""
        if self.times is None or not is_lossy(self.runtime):
            return self
        return replace(self, times=replace(self.times, loss=math.inf))

    @property
    def problem(self) -> str:
        """What to say where the runtime is not used; empty where it is."""
        return "" if self.times else f"tier {self.tier!r} does not run {self.runtime}: {self.why}"

    def warn(self) -> None:
        """Say so where the runtime is not used."""
        if self.problem:
            warnings.warn(self.problem, UnusedRuntimeWarning, stacklevel=2)


@dataclass(frozen=True, eq=False)
class RuntimeTask:
    """A workload whose layer times are measured: known to the tiers, its program, its example.

    packed: the program, by its name on this host and as it is. example: the payload. whole_s: by
    tier, seconds of the whole model in torch as they are planned with, where the tiers have not
    measured them on this payload. calibration: packed payloads at cut 0, at most 32, on which lossy
    runtimes are calibrated; None: there are no examples.
    """

    id: str
    program: Program
    packed: tuple[str, SharedValue]
    values: Sequence[Any]
    example: SharedValue
    whole_s: Mapping[str, float] = field(default_factory=dict)
    calibration: SharedValue | None = None


class Runtimes:
    """The runtimes of one session's tiers.

    opened: what each tier said when it began. get: waits for an answer of Ray's, as Session has it.
    mark: stands before the provenance of all that is measured.
    """

    def __init__(
        self,
        call_log: ActorCallLog,
        opened: Mapping[str, Opened],
        config: Config,
        get: Get,
        mark: str = "",
    ) -> None:
        self._call_log, self._opened = call_log, opened
        self._config, self._get, self._mark = config, get, mark

    @property
    def come_first(self) -> bool:
        """Whether a tier must not use torch, so that its first plan needs another runtime."""
        return bool(self._without_torch) or self._config.leaves_torch_out

    def check(self) -> None:
        """Raise RuntimeUnavailableError for a tier without torch that no wanted runtime is for."""
        for tier in self._without_torch:
            wanted, possible = self._config.runtimes_of(tier), without_torch()
            if not set(wanted) & set(possible):
                raise RuntimeUnavailableError(
                    f"tier {tier!r} has no torch, and of the runtimes {', '.join(wanted)} none "
                    f'runs without it; add "{possible[0]}" to Config(runtimes=...) (--runtime '
                    f"{possible[0]}), or install torch there: pip install 'edgesplit[full]'"
                )

    def eager(self, task: RuntimeTask) -> dict[str, LayerTimes]:
        """torch's layer times of each tier that has torch; the others learn what to expect."""
        layer_times: dict[str, LayerTimes] = {}
        for apart in self._side_by_side():
            calls = {tier: self._profiling(tier, task) for tier in apart}
            layer_times |= {tier: self._profiled(tier, call) for tier, call in calls.items()}
        if self._without_torch:
            known = next((times.layer_s for times in layer_times.values()), None)
            self._expect(task, known or profile_layers(task.program, task.values))
        return layer_times

    def measure(self, task: RuntimeTask) -> Iterator[Offered]:
        """Every wanted runtime but torch on every tier, one after the other. Raises ClusterError.

        Requests may flow meanwhile.
        """
        wanted = [runtime for runtime in self._config.wanted_runtimes if runtime != TORCH]
        if not wanted:
            return  # nor is torch timed again, to compare with
        factors = {
            tier: whole_s / self._profiled(tier, self._profiling(tier, task)).total_s
            for tier, whole_s in task.whole_s.items()
        }
        for runtime in wanted:
            tiers = [tier for tier in self._call_log.actors if self._is_for(tier, runtime)]
            unwanted = self._why_not_measured(runtime, task)
            refused = {t: unwanted or self._refusal(t, runtime, task) for t in tiers}
            yield from (Offered(tier, runtime, why=why) for tier, why in refused.items() if why)
            tiers = [tier for tier in tiers if not refused[tier]]
            if not tiers:
                continue
            try:
                graph = self._graph(task, runtime) if RUNTIMES[runtime].needs_graph else None
            except RuntimeUnavailableError as error:
                yield from (Offered(tier, runtime, why=str(error)) for tier in tiers)
                continue
            for tier in tiers:
                offered = self._measure_on(tier, runtime, task, graph)
                yield offered.scaled(factors.get(tier, 1.0)).without_known_loss()

    def tiers(self, task: RuntimeTask) -> tuple[Tier, ...]:
        """Every tier as first measured; runtimes other than torch only where they come first.

        Without torch's layer times where torch is not wanted and another runtime is there. An
        UnusedRuntimeWarning names what cannot be used. Raises ClusterError, and
        RuntimeUnavailableError where a tier can run nothing.
        """
        eager = self.eager(task)
        offered = list(self.measure(task)) if self.come_first else []
        for one in offered:
            one.warn()
        return tuple(
            self._tier(name, eager.get(name), [o for o in offered if o.tier == name])
            for name in self._call_log.actors
        )

    def _tier(self, name: str, eager: LayerTimes | None, offered: Sequence[Offered]) -> Tier:
        measured = [one.times for one in offered if one.times is not None]
        layer_times = measured if eager is None else [eager, *measured]
        if not layer_times:
            raise RuntimeUnavailableError(
                f"tier {name!r} has no torch and can run nothing else: "
                f"{'; '.join(f'{one.runtime}: {one.why}' for one in offered)}"
            )
        tier = _tier_of(name, layer_times, self._opened[name])
        for one in offered:
            tier = tier.without(one.runtime, one.why)
        is_exact_there = any(times.loss is None for times in measured)
        is_left_out = TORCH not in self._config.runtimes_of(name) and is_exact_there
        return tier.without_layer_times(TORCH) if is_left_out and eager is not None else tier

    @property
    def _without_torch(self) -> list[str]:
        return [tier for tier, opened in self._opened.items() if not opened.has_torch]

    def _is_for(self, tier: str, runtime: str) -> bool:
        is_possible = not RUNTIMES[runtime].needs_torch or tier not in self._without_torch
        return is_possible and runtime in self._config.runtimes_of(tier)

    def _side_by_side(self) -> Iterator[list[str]]:
        """Tiers with torch, in groups of one per machine: others would disturb each other."""
        by_host: dict[str, list[str]] = {}
        for tier in self._call_log.actors:
            if tier not in self._without_torch:
                by_host.setdefault(self._opened[tier].host, []).append(tier)
        for group in itertools.zip_longest(*by_host.values()):
            yield [tier for tier in group if tier is not None]

    def _profiling(self, tier: str, task: RuntimeTask) -> Any:
        return self._call_log.call(tier, "profile", task.id, task.example)

    def _profiled(self, tier: str, call: Any) -> LayerTimes:
        timeout_s = self._config.start_timeout_s
        return self._marked(self._get(call, f"tier {tier!r} to profile", timeout_s))

    def _marked(self, times: LayerTimes) -> LayerTimes:
        return replace(times, provenance=self._mark + times.provenance)

    def _why_not_measured(self, runtime: str, task: RuntimeTask) -> str:
        has_examples = task.calibration is not None
        wanted = self._config.exactness
        return why_not_measured(runtime, wanted, has_examples)

    def _refusal(self, tier: str, runtime: str, task: RuntimeTask) -> str:
        """Why an earlier session could not use it there; empty where nothing is known."""
        actor = self._call_log.actors[tier]
        call = actor.refusal.remote(task.id, runtime, self._config.exactness)
        return str(self._get(call, f"tier {tier!r} to say what it knows of {runtime}"))

    def _expect(self, task: RuntimeTask, layer_s: tuple[float, ...]) -> None:
        trials = SharedValue(packed_trials(task.program, task.values))
        for tier in self._without_torch:
            call = self._call_log.call(tier, "expect", task.id, trials, layer_s)
            self._get(call, f"tier {tier!r} to take the example", self._config.start_timeout_s)

    def _measure_on(
        self, tier: str, runtime: str, task: RuntimeTask, graph: SharedValue | None
    ) -> Offered:
        exactness = self._config.exactness
        call = self._call_log.call(tier, "measure_runtime", task.id, runtime, graph, exactness)
        try:
            what = f"tier {tier!r} to measure {runtime}"
            times = self._get(call, what, _MEASURE_TIMEOUT_S)
            return Offered(tier, runtime, self._marked(times))
        except RuntimeUnavailableError as error:
            return Offered(tier, runtime, why=str(error))

    def _graph(self, task: RuntimeTask, runtime: str) -> SharedValue:
        """What that runtime runs. Raises as write_graph()."""
        (name, packed), example = task.packed, self._call_log.ref(task.example)
        imports = self._config.imports
        calibration = () if task.calibration is None else self._call_log.ref(task.calibration)
        graph = write_graph(runtime, (name, example, calibration), imports, self._get)
        if graph is None:  # this host keeps no programs for Ray's user
            sent = self._call_log.ref(packed), example, calibration
            graph = write_graph(runtime, sent, imports, self._get)
        return SharedValue(graph)


def packed_trials(program: Program, values: Sequence[Any]) -> tuple[PackedTrial, ...]:
    """The example and noise, as much as a tier without torch may be sent; two at least."""
    whole = program.segment(0, len(program))
    example = Trial(EXAMPLE, lambda: values, whole)
    packed: list[PackedTrial] = []
    for trial in (example, *noise_trials(program, values)):
        given = list(trial.make())
        packed.append(PackedTrial(trial.name, pack_payload(given), pack_payload(trial.run(given))))
        if len(packed) >= FEWEST_TRIALS and sum(one.n_bytes for one in packed) > _SENT_BYTES:
            break
    return tuple(packed)


def _tier_of(name: str, layer_times: Sequence[LayerTimes], opened: Opened) -> Tier:
    """The tier with its layer times, first those in use."""
    first = layer_times[0]
    tier = Tier(
        name, first.layer_s, opened.power, provenance=first.provenance, metering=opened.metering,
        runtime=first.runtime, error=first.error, loss=first.loss,
    )  # fmt: skip
    for times in layer_times[1:]:
        tier = tier.with_layer_times(times)
    return tier


def with_offer(tier: Tier, offered: Offered) -> Tier:
    """The tier with the layer times, or with the reason why it has none, or none any more."""
    if offered.times is not None:
        return tier.with_layer_times(offered.times)
    if tier.layer_times and offered.runtime in tier.runtimes:
        tier = tier.without_layer_times(offered.runtime)
    return tier.without(offered.runtime, offered.why)
