"""Which runtimes the tiers can run a workload in: offered, measured, named where they cannot."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from edgesplit.cluster.graphs import write_graph
from edgesplit.config import Config
from edgesplit.core.row import TORCH, Row
from edgesplit.core.tier import Tier
from edgesplit.errors import RuntimeUnavailableError

Get = Callable[..., Any]
_MEASURE_TIMEOUT_S = 600.0  # beside requests: VGG-16 on a slow tier takes minutes


class UnusedRuntimeWarning(UserWarning):
    """A runtime that was wanted is not used on a tier; the message says why."""


@dataclass(frozen=True)
class Offered:
    """One tier and one runtime that was wanted there: its row, or why there is none."""

    tier: str
    runtime: str
    row: Row | None = None
    why: str = ""

    def scaled(self, factor: float) -> "Offered":
        """The same with a row of so many times the seconds."""
        if self.row is None:
            return self
        row = replace(self.row, layer_s=tuple(s * factor for s in self.row.layer_s))
        return replace(self, row=row)

    def warn(self) -> None:
        """Say so where the runtime is not used."""
        if self.row is None:
            message = f"tier {self.tier!r} does not run {self.runtime}: {self.why}"
            warnings.warn(message, UnusedRuntimeWarning, stacklevel=2)


@dataclass(frozen=True)
class Work:
    """A workload whose runtimes are to be measured: its id, packed program, a sample payload.

    whole_s: by tier, seconds of the whole model in torch as they are planned with, where the tiers
    have not measured them on this payload.
    """

    id: str
    packed: Any
    values: list[Any]
    whole_s: Mapping[str, float] = field(default_factory=dict)


class Runtimes:
    """The runtimes of one session's tiers. get: waits for an answer of Ray's, as Session has it."""

    def __init__(self, actors: Mapping[str, Any], config: Config, get: Get) -> None:
        self._actors, self._config, self._get = actors, config, get

    def measure(self, work: Work) -> Iterator[Offered]:
        """Every wanted runtime but torch on every tier, one after the other. Raises ClusterError.

        Requests may flow meanwhile.
        """
        factors = {tier: self._factor(tier, work) for tier in work.whole_s}
        for runtime in self._config.wanted_runtimes:
            tiers = [t for t in self._actors if runtime in self._config.runtimes_of(t)]
            if runtime == TORCH or not tiers:
                continue
            try:
                graph = self._graph(work) if runtime == "onnx" else ray.put(None)
            except RuntimeUnavailableError as error:
                yield from (Offered(tier, runtime, why=str(error)) for tier in tiers)
                continue
            for tier in tiers:
                offered = self._measure_on(tier, runtime, work, graph)
                yield offered.scaled(factors.get(tier, 1.0))

    def _factor(self, tier: str, work: Work) -> float:
        """Planned over measured seconds of torch: rows are in proportion to what is planned."""
        call = self._actors[tier].profile.remote(work.id, work.values)
        layer_s = self._get(call, f"tier {tier!r} to profile", _MEASURE_TIMEOUT_S)
        return work.whole_s[tier] / sum(layer_s)

    def _measure_on(self, tier: str, runtime: str, work: Work, graph: Any) -> Offered:
        exactness = self._config.exactness
        call = self._actors[tier].row.remote(work.id, runtime, graph, exactness)
        try:
            what = f"tier {tier!r} to measure {runtime}"
            return Offered(tier, runtime, self._get(call, what, _MEASURE_TIMEOUT_S))
        except RuntimeUnavailableError as error:
            return Offered(tier, runtime, why=str(error))

    def _graph(self, work: Work) -> Any:
        return write_graph(work.packed, work.values, self._get)


def with_rows(
    tiers: Sequence[Tier], offered: Sequence[Offered], config: Config
) -> tuple[Tier, ...]:
    """The tiers with what was measured; without torch where it is not wanted and another is."""
    found = []
    for tier in tiers:
        for one in offered:
            if one.tier == tier.name:
                tier = with_offer(tier, one)
        is_left_out = TORCH not in config.runtimes_of(tier.name) and len(tier.runtimes) > 1
        found.append(tier.without_row(TORCH) if is_left_out else tier)
    return tuple(found)


def with_offer(tier: Tier, offered: Offered) -> Tier:
    """The tier with the row, or with the reason why there is none."""
    if offered.row is None:
        return tier.without(offered.runtime, offered.why)
    return tier.with_row(replace(offered.row, source=tier.source))
