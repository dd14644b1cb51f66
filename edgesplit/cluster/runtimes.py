"""Which runtimes the tiers can run a workload in: offered, measured, named where they cannot.

A tier without torch is measured against what eager torch gives in the caller's process.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgesplit.cluster.actors import Opened
from edgesplit.cluster.answers import Get
from edgesplit.cluster.graphs import write_graph
from edgesplit.cluster.parcel import Parcel
from edgesplit.cluster.recipe import Recipes
from edgesplit.config import Config
from edgesplit.core.row import TORCH, Row
from edgesplit.core.tier import Tier
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.packed_payload import pack_payload
from edgesplit.node.profiler import profile_layers
from edgesplit.node.program import Program

WITHOUT_TORCH = ("onnx",)  # runtimes that a host without torch may have
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

    @property
    def problem(self) -> str:
        """What to say where the runtime is not used; empty where it is."""
        return "" if self.row else f"tier {self.tier!r} does not run {self.runtime}: {self.why}"

    def warn(self) -> None:
        """Say so where the runtime is not used."""
        if self.problem:
            warnings.warn(self.problem, UnusedRuntimeWarning, stacklevel=2)


@dataclass(frozen=True, eq=False)
class Work:
    """What rows are measured of: a workload that the tiers know, its program, a sample payload.

    packed, sample: the packed program and payload. whole_s: by tier, seconds of the whole model in
    torch as they are planned with, where the tiers have not measured them on this payload.
    """

    id: str
    program: Program
    packed: Parcel
    values: Sequence[Any]
    sample: Parcel
    whole_s: Mapping[str, float] = field(default_factory=dict)


class Runtimes:
    """The runtimes of one session's tiers.

    opened: what each tier said when it began. get: waits for an answer of Ray's, as Session has it.
    """

    def __init__(
        self, recipes: Recipes, opened: Mapping[str, Opened], config: Config, get: Get
    ) -> None:
        self._recipes, self._opened = recipes, opened
        self._config, self._get = config, get

    @property
    def come_first(self) -> bool:
        """Whether a tier has to do without torch, so that its first plan needs another runtime."""
        return bool(self._without_torch) or self._config.leaves_torch_out

    def check(self) -> None:
        """Raise RuntimeUnavailableError for a tier without torch that no wanted runtime is for."""
        for tier in self._without_torch:
            wanted = self._config.runtimes_of(tier)
            if not set(wanted) & set(WITHOUT_TORCH):
                raise RuntimeUnavailableError(
                    f"tier {tier!r} has no torch, and of the runtimes {', '.join(wanted)} none "
                    'runs without it; add "onnx" to Config(runtimes=...) (--runtime onnx), or '
                    "install torch there: pip install 'edgesplit[full]'"
                )

    def eager(self, work: Work) -> dict[str, Row]:
        """torch's row of each tier that has torch; the others learn what to expect."""
        with_torch = [tier for tier in self._recipes.actors if tier not in self._without_torch]
        rows = {tier: Row(TORCH, self._profile(tier, work)) for tier in with_torch}
        if self._without_torch:
            known = next((row.layer_s for row in rows.values()), None)
            self._expect(work, known or profile_layers(work.program, work.values))
        return rows

    def measure(self, work: Work) -> Iterator[Offered]:
        """Every wanted runtime but torch on every tier, one after the other. Raises ClusterError.

        Requests may flow meanwhile.
        """
        factors = {
            tier: whole_s / sum(self._profile(tier, work)) for tier, whole_s in work.whole_s.items()
        }
        for runtime in self._config.wanted_runtimes:
            tiers = [tier for tier in self._recipes.actors if self._is_for(tier, runtime)]
            if runtime == TORCH or not tiers:
                continue
            try:
                # What onnx runs; the others need nothing.
                graph = self._graph(work) if runtime == "onnx" else None
            except RuntimeUnavailableError as error:
                yield from (Offered(tier, runtime, why=str(error)) for tier in tiers)
                continue
            for tier in tiers:
                offered = self._measure_on(tier, runtime, work, graph)
                yield offered.scaled(factors.get(tier, 1.0))

    def tiers(self, work: Work, source: str) -> tuple[Tier, ...]:
        """Every tier as first measured; runtimes other than torch only where they come first.

        Without torch's row where it is not wanted and another is there. UnusedRuntimeWarning names
        what cannot be. Raises RuntimeUnavailableError where a tier can run nothing, ClusterError.
        """
        eager = self.eager(work)
        offered = list(self.measure(work)) if self.come_first else []
        for one in offered:
            one.warn()
        return tuple(
            self._tier(name, eager.get(name), [o for o in offered if o.tier == name], source)
            for name in self._recipes.actors
        )

    def _tier(self, name: str, eager: Row | None, offered: Sequence[Offered], source: str) -> Tier:
        measured = [one.row for one in offered if one.row is not None]
        rows = measured if eager is None else [eager, *measured]
        if not rows:
            raise RuntimeUnavailableError(
                f"tier {name!r} has no torch and can run nothing else: "
                f"{'; '.join(f'{one.runtime}: {one.why}' for one in offered)}"
            )
        tier = _tier_of(name, rows, source, self._opened[name])
        for one in offered:
            tier = tier.without(one.runtime, one.why)
        is_left_out = TORCH not in self._config.runtimes_of(name) and bool(measured)
        return tier.without_row(TORCH) if is_left_out and eager is not None else tier

    @property
    def _without_torch(self) -> list[str]:
        return [tier for tier, opened in self._opened.items() if not opened.has_torch]

    def _is_for(self, tier: str, runtime: str) -> bool:
        is_possible = runtime in WITHOUT_TORCH or tier not in self._without_torch
        return is_possible and runtime in self._config.runtimes_of(tier)

    def _profile(self, tier: str, work: Work) -> tuple[float, ...]:
        call = self._recipes.call(tier, "profile", work.id, work.sample)
        layer_s = self._get(call, f"tier {tier!r} to profile", self._config.start_timeout_s)
        return layer_s  # type: ignore[no-any-return]

    def _expect(self, work: Work, layer_s: tuple[float, ...]) -> None:
        whole = work.program.segment(0, len(work.program))
        outputs = Parcel(pack_payload(whole(list(work.values))))
        for tier in self._without_torch:
            call = self._recipes.call(tier, "expect", work.id, work.sample, outputs, layer_s)
            self._get(call, f"tier {tier!r} to take a sample", self._config.start_timeout_s)

    def _measure_on(self, tier: str, runtime: str, work: Work, graph: Parcel | None) -> Offered:
        exactness = self._config.exactness
        call = self._recipes.call(tier, "row", work.id, runtime, graph, exactness)
        try:
            what = f"tier {tier!r} to measure {runtime}"
            return Offered(tier, runtime, self._get(call, what, _MEASURE_TIMEOUT_S))
        except RuntimeUnavailableError as error:
            return Offered(tier, runtime, why=str(error))

    def _graph(self, work: Work) -> Parcel:
        """What onnx runs. Raises as write_graph()."""
        sent = self._recipes.ref(work.packed), self._recipes.ref(work.sample)
        return Parcel(write_graph(*sent, self._get))


def _tier_of(name: str, rows: Sequence[Row], source: str, opened: Opened) -> Tier:
    """The tier with its rows, first the one in use."""
    first = rows[0]
    tier = Tier(
        name, first.layer_s, opened.power, source=source, metering=opened.metering,
        runtime=first.runtime, error=first.error,
    )  # fmt: skip
    for row in rows[1:]:
        tier = tier.with_row(replace(row, source=source))
    return tier


def with_offer(tier: Tier, offered: Offered) -> Tier:
    """The tier with the row, or with the reason why there is none."""
    if offered.row is None:
        return tier.without(offered.runtime, offered.why)
    return tier.with_row(replace(offered.row, source=tier.source))
