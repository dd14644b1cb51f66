"""A plan: which tier runs which segment in which runtime, in route order; a value.

Its text form is reversible.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgesplit.core.graph import Graph
from edgesplit.core.row import NAME_HINT, RUNTIME_NAME, TORCH, is_runtime_name
from edgesplit.errors import PlanError

_STAGE = re.compile(
    rf"\s*(?P<tier>[A-Za-z0-9_.-]+)\s*(\[\s*(?P<runtime>{RUNTIME_NAME})\s*\]\s*)?"
    r":\s*(?P<start>\d+)\s*-\s*(?P<stop>\d+)\s*"
)


@dataclass(frozen=True)
class Stage:
    """One tier, its segment [start, stop) and what executes it.

    start == stop: it only passes the payload on, and its runtime is `torch` whatever is given:
    which one runs nothing makes no difference, so it makes no other plan either.
    """

    tier: str
    start: int
    stop: int
    runtime: str = TORCH

    def __post_init__(self) -> None:
        if not is_runtime_name(self.runtime):
            raise PlanError(f"tier {self.tier!r}: no runtime {self.runtime!r}; {NAME_HINT}")
        if self.start == self.stop:
            object.__setattr__(self, "runtime", TORCH)

    def __str__(self) -> str:
        runtime = "" if self.runtime == TORCH else f"[{self.runtime}]"
        return f"{self.tier}{runtime}:{self.start}-{self.stop}"

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Plan:
    """Stages in route order. The first is the tier that holds the input, even if it runs nothing.

    Text form, reversible: `end[onnx]:0-12 | edge:12-20 | cloud:20-38`; without brackets the
    runtime is `torch`. A tier appears once.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise PlanError("a plan needs at least one stage, such as 'end:0-12'")
        at = 0
        for stage in self.stages:
            if stage.start != at or stage.stop < stage.start:
                raise PlanError(
                    f"plan {self}: stage {stage} should start at layer {at} and not run backwards"
                )
            at = stage.stop
        tiers = self.route
        if len(set(tiers)) != len(tiers):
            raise PlanError(f"plan {self}: a tier appears twice; one segment per tier")

    def __str__(self) -> str:
        return " | ".join(str(stage) for stage in self.stages)

    @property
    def route(self) -> tuple[str, ...]:
        """Tier names in the order a request visits them."""
        return tuple(stage.tier for stage in self.stages)

    @property
    def runtimes(self) -> dict[str, str]:
        """Each tier's runtime, in route order; `torch` for one that runs nothing."""
        return {stage.tier: stage.runtime for stage in self.stages}

    @property
    def cuts(self) -> tuple[int, ...]:
        """The cuts at which a payload crosses a link, one fewer than stages."""
        return tuple(stage.stop for stage in self.stages[:-1])

    @property
    def n_layers(self) -> int:
        """The cut after the last layer."""
        return self.stages[-1].stop

    def check(self, graph: Graph, tiers: Sequence[str]) -> "Plan":
        """Return the plan itself if it runs all of `graph` on `tiers`, first the one with the data.

        Raises PlanError otherwise.
        """
        unknown = [tier for tier in self.route if tier not in tiers]
        if unknown:
            raise PlanError(f"plan {self}: no tier {unknown[0]!r}; known: {', '.join(tiers)}")
        if self.route[0] != tiers[0]:
            raise PlanError(
                f"plan {self}: must begin at {tiers[0]!r}, which holds the input; "
                f"write '{tiers[0]}:0-0 | {self}' if it should run nothing"
            )
        if self.n_layers != len(graph):
            raise PlanError(
                f"plan {self}: stops at layer {self.n_layers}, but {graph.name} has {len(graph)}"
            )
        return self

    def check_runtimes(self, offered: Mapping[str, Sequence[str]]) -> "Plan":
        """Return the plan itself if each tier has the runtime it is to run its segment in.

        offered: the runtimes of every tier. Raises PlanError otherwise.
        """
        for stage in self.stages:
            there = offered[stage.tier]
            if len(stage) and stage.runtime not in there:
                raise PlanError(
                    f"plan {self}: tier {stage.tier!r} has no runtime {stage.runtime!r}; it has "
                    f"{', '.join(there)}: write '{replace(stage, runtime=there[0])}'"
                )
        return self

    def as_offered(self, offered: Mapping[str, Sequence[str]]) -> "Plan":
        """The same plan; where a tier has lost a stage's runtime, in the one that it has in use.

        offered: the runtimes of every tier, first the one in use.
        """
        lost = [s for s in self.stages if len(s) and s.runtime not in offered[s.tier]]
        return self.on({stage.tier: offered[stage.tier][0] for stage in lost})

    def on(self, runtimes: Mapping[str, str]) -> "Plan":
        """The same plan in other runtimes, given by tier; tiers that are left out keep theirs."""
        if all(runtimes.get(s.tier, s.runtime) == s.runtime for s in self.stages):
            return self
        stages = (replace(s, runtime=runtimes.get(s.tier, s.runtime)) for s in self.stages)
        return Plan(tuple(stages))


def parse_plan(text: str) -> Plan:
    """The plan that `text` writes, as in `end[onnx]:0-12 | edge:12-38`. Raises PlanError."""
    stages = []
    for part in text.split("|"):
        match = _STAGE.fullmatch(part)
        if match is None:
            raise PlanError(
                f"{text!r} is not a plan: {part.strip()!r} should look like 'end:0-12' or "
                "'end[onnx]:0-12', stages joined by '|'"
            )
        bounds = int(match["start"]), int(match["stop"])
        stages.append(Stage(match["tier"], *bounds, match["runtime"] or TORCH))
    return Plan(tuple(stages))


def plan_along(route: Sequence[str], cuts: Sequence[int], n_layers: int) -> Plan:
    """The plan that visits `route` and crosses its links at `cuts` (one fewer than tiers).

    It runs in torch; `.on(...)` of it in other runtimes.
    """
    edges = [0, *cuts, n_layers]
    pairs = pairwise(edges)
    return Plan(tuple(Stage(t, a, b) for t, (a, b) in zip(route, pairs, strict=True)))
