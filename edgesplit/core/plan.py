"""A plan: which tier runs which segment in which runtime, and how payloads travel; a value.

Its text form is reversible.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgesplit.core.given import is_name, is_whole
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import NAME_HINT, RUNTIME_NAME, TORCH, is_runtime_name
from edgesplit.core.payload_codec import ALL_CODECS, AS_IS, CODEC_NAME
from edgesplit.errors import PlanError

_TIER_NAME = r"[A-Za-z0-9_.-]+"
_LONGEST_NAME = 128  # characters: what a frame carries
TIER_NAME_HINT = f"letters, digits, '.', '-' and '_', {_LONGEST_NAME} at most"
_STAGE = re.compile(
    rf"\s*(?P<tier>{_TIER_NAME})\s*(\[\s*(?P<runtime>{RUNTIME_NAME})\s*\]\s*)?"
    r":\s*(?P<start>\d+)\s*-\s*(?P<stop>\d+)\s*"
)
_HOP = re.compile(rf"\|(?:\s*({CODEC_NAME})\s*\|)?")


@dataclass(frozen=True)
class Stage:
    """One tier, its layers start to stop - 1, and the runtime that executes them.

    start == stop: the tier runs nothing and passes the payload on. Its runtime is then `torch`
    whatever is given, so that equal plans are equal values. codec: how the payload behind these
    layers is written for the link to the next tier. Raises PlanError for a wrong kind.

    Example:
        >>> str(Stage("end", 0, 12, runtime="onnx"))
        'end[onnx]:0-12'
    """

    tier: str
    start: int
    stop: int
    runtime: str = TORCH
    codec: str = AS_IS

    def __post_init__(self) -> None:
        if not (is_name(self.tier) and is_whole(self.start) and is_whole(self.stop)):
            raise PlanError(
                "a stage is a tier's name and two whole numbers, as in Stage('end', 0, 12), given "
                f"{self.tier!r}, {self.start!r}, {self.stop!r}"
            )
        if not is_runtime_name(self.runtime):
            raise PlanError(f"tier {self.tier!r}: no runtime {self.runtime!r}; {NAME_HINT}")
        if self.codec != AS_IS and self.codec not in ALL_CODECS:
            raise PlanError(
                f"tier {self.tier!r}: no codec {self.codec!r}; known: {', '.join(ALL_CODECS)}"
            )
        if self.start == self.stop:
            object.__setattr__(self, "runtime", TORCH)

    def __str__(self) -> str:
        runtime = "" if self.runtime == TORCH else f"[{self.runtime}]"
        return f"{self.tier}{runtime}:{self.start}-{self.stop}"

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, repr=False)
class Plan:
    """Stages in the order that a request visits them. The first tier holds the input.

    str() of it is `end[onnx]:0-12 |int8+zstd| edge:12-20 | cloud:20-38`, and parse_plan() reads
    that; without brackets the runtime is `torch`, without a codec the payload travels as it is.
    Raises PlanError where a tier appears twice, where a stage does not begin at the layer where the
    stage before it stops, or where the last stage, which sends nothing on, has a codec.

    Example:
        >>> Plan((Stage("end", 0, 12), Stage("cloud", 12, 38))).cuts
        (12,)
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.stages, tuple) or not self.stages:
            raise PlanError("a plan needs a tuple of at least one stage, such as 'end:0-12'")
        if not all(isinstance(stage, Stage) for stage in self.stages):
            raise PlanError(f"a plan's stages are Stage, given {self.stages!r}; see parse_plan()")
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
        if self.stages[-1].codec != AS_IS:
            raise PlanError(
                f"plan {self}: {self.stages[-1].tier!r} sends nothing on, so it has no codec; the "
                "answer travels as it is"
            )

    def __str__(self) -> str:
        hops = ("|" if stage.codec == AS_IS else f"|{stage.codec}|" for stage in self.stages)
        text = " ".join(f"{stage} {hop}" for stage, hop in zip(self.stages, hops, strict=True))
        return text.removesuffix(" |")

    def __repr__(self) -> str:
        return f"<Plan {self}>"

    @property
    def route(self) -> tuple[str, ...]:
        """Tier names in the order that a request visits them."""
        return tuple(stage.tier for stage in self.stages)

    @property
    def runtimes(self) -> dict[str, str]:
        """Each tier's runtime, in route order; `torch` for one that runs nothing."""
        return {stage.tier: stage.runtime for stage in self.stages}

    @property
    def codecs(self) -> tuple[str, ...]:
        """How the payload at each cut travels, one fewer than stages."""
        return tuple(stage.codec for stage in self.stages[:-1])

    @property
    def cuts(self) -> tuple[int, ...]:
        """The cuts at which a payload crosses a link, one fewer than stages."""
        return tuple(stage.stop for stage in self.stages[:-1])

    @property
    def n_layers(self) -> int:
        """The cut after the last layer."""
        return self.stages[-1].stop

    def check(self, graph: Graph, tiers: Sequence[str]) -> "Plan":
        """The plan itself, if it runs all of `graph` on `tiers` and begins at the first of them.

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
        """The plan itself, if each tier has the runtime of its stage.

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
        """The same plan, with the runtime in use wherever a tier has lost a stage's runtime.

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

    def coded(self, codecs: Sequence[str]) -> "Plan":
        """The same plan with its payloads written so, one codec per cut.

        Raises PlanError where the number does not fit.

        Example:
            >>> str(parse_plan("end:0-12 | cloud:12-38").coded(["int8"]))
            'end:0-12 |int8| cloud:12-38'
        """
        if len(codecs) != len(self.stages) - 1:
            raise PlanError(f"plan {self} has {len(self.stages) - 1} cuts, given codecs {codecs}")
        pairs = zip(self.stages, (*codecs, AS_IS), strict=True)
        return Plan(tuple(replace(stage, codec=codec) for stage, codec in pairs))


def is_tier_name(text: str) -> bool:
    """Whether a tier can be called so, and a plan's text and a frame can name it."""
    return len(text) <= _LONGEST_NAME and re.fullmatch(_TIER_NAME, text) is not None


def parse_plan(text: str) -> Plan:
    """The plan that str() wrote as `text`. Raises PlanError.

    Example:
        >>> parse_plan("end[onnx]:0-12 | edge:12-38").route
        ('end', 'edge')
    """
    if not isinstance(text, str):
        raise PlanError(
            f"a plan is written as text, such as 'end:0-12 | edge:12-38', given {text!r}"
        )
    parts = _HOP.split(text)  # stage, codec or None, what of it stands behind "+", stage, ...
    stages = []
    for part, codec in zip(parts[::3], [*parts[1::3], None], strict=True):
        match = _STAGE.fullmatch(part)
        if match is None:
            raise PlanError(
                f"{text!r} is not a plan: {part.strip()!r} should look like 'end:0-12' or "
                "'end[onnx]:0-12', stages joined by '|' or by a codec, as in '|int8|'"
            )
        bounds = int(match["start"]), int(match["stop"])
        stages.append(Stage(match["tier"], *bounds, match["runtime"] or TORCH, codec or AS_IS))
    return Plan(tuple(stages))


def plan_along(route: Sequence[str], cuts: Sequence[int], n_layers: int) -> Plan:
    """The plan that visits the tiers of `route` and crosses its links at `cuts`, one per link.

    All stages run in torch; `.on({"end": "onnx"})` gives the same plan in another runtime. Raises
    PlanError where the number of cuts does not fit.

    Example:
        >>> str(plan_along(["end", "edge", "cloud"], [12, 20], n_layers=38))
        'end:0-12 | edge:12-20 | cloud:20-38'
    """
    route, edges = list(route), [0, *cuts, n_layers]
    if len(edges) != len(route) + 1:
        raise PlanError(
            f"a plan along {len(route)} tiers has {len(route) - 1} cuts, given {len(edges) - 2}"
        )
    pairs = pairwise(edges)
    return Plan(tuple(Stage(t, a, b) for t, (a, b) in zip(route, pairs, strict=True)))
