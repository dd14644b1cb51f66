"""Which runtimes the tiers can run a workload in: offered, measured, named where they cannot.

A tier without torch is measured against what eager torch gives in the caller's process.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from edgesplit.cluster.actors import Opened
from edgesplit.config import Config
from edgesplit.core.row import TORCH, Row
from edgesplit.core.tier import Tier
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.packed_payload import pack_payload
from edgesplit.node.profiler import profile_layers
from edgesplit.node.program import Program
from edgesplit.node.runtime.onnx_graph import OnnxGraph

WITHOUT_TORCH = ("onnx",)  # runtimes that a host without torch may have
Get = Callable[..., Any]


class UnusedRuntimeWarning(UserWarning):
    """A runtime that was wanted is not used on a tier; the message says why."""


@dataclass(frozen=True, eq=False)
class Work:
    """What rows are measured of: a workload that the tiers know, its program, a sample payload."""

    id: str
    program: Program
    values: Sequence[Any]


class TierRows:
    """Asks the tiers of one session for their rows; opened: what each said when it began."""

    def __init__(
        self, actors: Mapping[str, Any], opened: Mapping[str, Opened], get: Get, config: Config
    ) -> None:
        self._actors, self._opened = actors, opened
        self._get, self._config = get, config

    def check(self) -> None:
        """Raise RuntimeUnavailableError for a tier without torch that no wanted runtime is for."""
        wanted = self._config.runtimes
        for tier in self._without_torch:
            if not set(wanted) & set(WITHOUT_TORCH):
                raise RuntimeUnavailableError(
                    f"tier {tier!r} has no torch, and of the runtimes {', '.join(wanted)} none "
                    'runs without it; add "onnx" to Config(runtimes=...) (--runtime onnx), or '
                    "install torch there: pip install 'edgesplit[full]'"
                )

    def tiers(self, work: Work, source: str) -> tuple[Tier, ...]:
        """Every tier with a row per runtime, measured one after another.

        torch's row is left out where it is not wanted and another is there. UnusedRuntimeWarning
        names what cannot be. Raises RuntimeUnavailableError where a tier can run nothing.
        """
        rows = self._eager_rows(work)
        problems = dict.fromkeys(self._actors, "")
        for runtime in self._config.runtimes:
            if runtime != TORCH:
                self._measure(runtime, work, rows, problems)
        for tier in self._without_torch:
            if not rows[tier]:
                raise RuntimeUnavailableError(
                    f"tier {tier!r} has no torch and can run nothing else: {problems[tier]}"
                )
        return tuple(self._tier(tier, rows[tier], source) for tier in self._actors)

    @property
    def _without_torch(self) -> list[str]:
        return [tier for tier, opened in self._opened.items() if not opened.has_torch]

    def _eager_rows(self, work: Work) -> dict[str, list[Row]]:
        """torch's row of each tier that has torch; the others learn what to expect."""
        rows: dict[str, list[Row]] = {tier: [] for tier in self._actors}
        sample = ray.put(pack_payload(work.values))
        for tier, opened in self._opened.items():
            if opened.has_torch:
                call = self._actors[tier].profile.remote(work.id, sample)
                rows[tier].append(Row(TORCH, self._answer(call, f"tier {tier!r} to profile")))
        if self._without_torch:
            known = next((row.layer_s for found in rows.values() for row in found), None)
            self._expect(work, sample, known or profile_layers(work.program, work.values))
        return rows

    def _expect(self, work: Work, sample: Any, layer_s: tuple[float, ...]) -> None:
        whole = work.program.segment(0, len(work.program))
        outputs = ray.put(pack_payload(whole(list(work.values))))
        for tier in self._without_torch:
            call = self._actors[tier].expect.remote(work.id, sample, outputs, layer_s)
            self._answer(call, f"tier {tier!r} to take a sample")

    def _measure(
        self, runtime: str, work: Work, rows: dict[str, list[Row]], problems: dict[str, str]
    ) -> None:
        """Add the runtime's row of each tier; elsewhere what is wrong with it."""
        try:
            graph = _graph(work) if runtime == "onnx" else None
        except RuntimeUnavailableError as error:
            problems.update(dict.fromkeys(problems, f"{runtime}: {error}"))
            _warn(f"no tier runs {runtime}: {error}")
            return
        shipped = ray.put(graph)
        for tier, actor in self._actors.items():
            if runtime not in WITHOUT_TORCH and tier in self._without_torch:
                continue  # it was never meant for this tier
            call = actor.row.remote(work.id, runtime, shipped, self._config.exactness)
            try:
                rows[tier].append(self._answer(call, f"tier {tier!r} to measure {runtime}"))
            except RuntimeUnavailableError as error:
                problems[tier] = f"{runtime}: {error}"
                _warn(f"tier {tier!r} does not run {runtime}: {error}")

    def _tier(self, name: str, rows: Sequence[Row], source: str) -> Tier:
        opened, first = self._opened[name], rows[0]
        tier = Tier(
            name, first.layer_s, opened.power, source=source, metering=opened.metering,
            runtime=first.runtime, error=first.error,
        )  # fmt: skip
        for row in rows[1:]:
            tier = tier.with_row(replace(row, source=source))
        is_left_out = TORCH not in self._config.runtimes and first.runtime == TORCH and tier.rows
        return tier.without_row(TORCH) if is_left_out else tier

    def _answer(self, call: Any, what: str) -> Any:
        return self._get(call, what, self._config.start_timeout_s)


def _graph(work: Work) -> OnnxGraph:
    from edgesplit.node.model import exporting
    from edgesplit.node.runtime.onnx_export import export_graph

    with exporting():
        return export_graph(work.program, work.values)


def _warn(message: str) -> None:
    warnings.warn(message, UnusedRuntimeWarning, stacklevel=4)
