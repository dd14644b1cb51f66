"""Which runtimes the tiers can run a workload in: offered, measured, named where they cannot."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray

from edgesplit.config import Config
from edgesplit.core.row import TORCH, Row
from edgesplit.core.tier import Tier
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program import Program
from edgesplit.node.runtime.onnx_graph import OnnxGraph

Get = Callable[..., Any]


class UnusedRuntimeWarning(UserWarning):
    """A runtime that was wanted is not used on a tier; the message says why."""


def with_rows(
    tiers: Sequence[Tier], rows: Mapping[str, Sequence[Row]], config: Config
) -> tuple[Tier, ...]:
    """The tiers with what was measured; without torch where it is not wanted and another is."""
    found = []
    for tier in tiers:
        for row in rows.get(tier.name, ()):
            tier = tier.with_row(replace(row, source=tier.source))
        is_left_out = TORCH not in config.runtimes and len(tier.runtimes) > 1
        found.append(tier.without_row(TORCH) if is_left_out else tier)
    return tuple(found)


def measured_rows(
    actors: Mapping[str, Any], get: Get, config: Config, workload: tuple[str, Program, list[Any]]
) -> dict[str, list[Row]]:
    """The rows of every wanted runtime but torch, per tier, one measured after the other.

    workload: its id, its program and a sample payload. UnusedRuntimeWarning names what cannot be.
    """
    workload_id, program, values = workload
    rows: dict[str, list[Row]] = {tier: [] for tier in actors}
    for runtime in config.runtimes:
        if runtime == TORCH:
            continue
        try:
            graph = _graph(program, values) if runtime == "onnx" else None
        except RuntimeUnavailableError as error:
            _warn(f"no tier runs {runtime}: {error}")
            continue
        shipped = ray.put(graph)
        for tier, actor in actors.items():
            call = actor.row.remote(workload_id, runtime, shipped, config.exactness)
            try:
                row = get(call, f"tier {tier!r} to measure {runtime}", config.start_timeout_s)
                rows[tier].append(row)
            except RuntimeUnavailableError as error:
                _warn(f"tier {tier!r} does not run {runtime}: {error}")
    return rows


def _graph(program: Program, values: list[Any]) -> OnnxGraph:
    from edgesplit.node.model import exporting
    from edgesplit.node.runtime.onnx_export import export_graph

    with exporting():
        return export_graph(program, values)


def _warn(message: str) -> None:
    warnings.warn(message, UnusedRuntimeWarning, stacklevel=4)
