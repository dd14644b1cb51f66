"""SPINN without exits: objectives in order of importance, over cuts behind activations.

Source: Laskaridis, Venieris, Almeida, Leontiadis, Lane, MobiCom 2020, arXiv 2008.06402.
Read: the abstract; the rule is recalled, hence `-style`.
Rule: all pairs of a cut and an exit's threshold are predicted from profiled times, scaled by what
the last runs took, and bytes / bandwidth + latency of payloads of 8 bits. Those that break a hard
limit are dropped; of the rest those near the best in the first objective are kept, then in the
next.
Ours: models here have no exits; only the cut is left. Objectives are latency and the joules of the
entry tier and of all, by the goal's weights; its latency limit is the hard one, and where no cut
keeps it, the fastest is taken. Payloads are quantised only where profile and goal offer that.
Several servers are tried; where no layer is known as an activation, any cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edgesplit.core.coding import Flags
from edgesplit.core.cost import Array, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.cut_seconds import (
    CutSeconds,
    charged_w,
    cut_seconds,
    only_away,
    profiled_s,
)
from edgesplit.core.policies.layer_kind import kinds_of
from edgesplit.core.policies.load_factor import NOTHING_SEEN, TierLoads
from edgesplit.core.policies.uplink import Uplink, allowed_cuts, least_plan, uplinks
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming

TOLERANCE = 0.05  # of the best value of an objective; theirs is the user's
CODEC = "int8+lz4"  # theirs is linear quantisation to 8 bits, bit shuffling and LZ4


@dataclass(frozen=True)
class Spinn:
    """The policy, and what the last requests took on each tier."""

    loads: TierLoads = NOTHING_SEEN

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy. Raises PlanError."""
        factors = [self.loads.factor(tier) for tier in profile.tiers]
        return _Choice(CostModel(graph, profile, goal), tuple(factors)).plan()

    def after(self, graph: Graph, profile: Profile, timings: Sequence[TierTiming]) -> "Spinn":
        """With what one more request took."""
        return Spinn(self.loads.after(profile, timings))


@dataclass(frozen=True)
class _Choice:
    """One decision. factors: of each tier's profiled seconds. All arrays are by way and cut."""

    model: CostModel
    factors: tuple[float, ...]

    def plan(self) -> Plan:
        allowed = allowed_cuts(self.model, self.ways)
        if not allowed.any():
            return least_plan(self.model, self.ways, self.latency_s)  # which says so
        behind = allowed & _cuts(self.model.graph)
        kept = behind if behind.any() else allowed
        limit_s = self.model.goal.latency_limit_s or np.inf
        in_time = kept & (self.latency_s <= limit_s)
        values = np.where(kept, self.latency_s, np.inf)
        for objective in self._objectives() if in_time.any() else ():
            values = np.where(in_time, objective, np.inf)
            in_time &= values <= values.min() + TOLERANCE * abs(values.min())
        return self._at(*divmod(int(values.argmin()), values.shape[1]))

    @cached_property
    def ways(self) -> tuple[Uplink, ...]:
        return uplinks(self.model)

    @cached_property
    def parts(self) -> CutSeconds:
        layer_s = profiled_s(self.model.profile, self.factors)
        raw = cut_seconds(self.model, self.ways, layer_s)
        return replace(raw, upload_s=np.minimum(raw.upload_s, self.coded_s))

    @cached_property
    def coded_s(self) -> Array:
        """Seconds of a quantised payload; infinite where none is offered, or relays are between."""
        coding, c = self.model.coding, self.model.coding.index(CODEC)
        seconds = np.full((len(self.ways), len(self.model.graph) + 1), np.inf)
        for row, way in enumerate(self.ways):
            if c is not None and len(way.route) == 2:
                encode_s, decode_s = coding.seconds
                both_s = encode_s[c, 0] + decode_s[c, way.server]
                coded_s = both_s + coding.sent_bytes[c] * way.s_per_byte
                seconds[row] = np.where(coding.unusable[c, 0, way.server], np.inf, coded_s)
        return seconds

    @cached_property
    def latency_s(self) -> Array:
        pings_s = np.array([[way.ping_s] for way in self.ways])
        pings_s = np.repeat(pings_s, len(self.model.graph) + 1, axis=1)
        return self.parts.total_s + only_away(pings_s)

    def _objectives(self) -> list[Array]:
        """The most important first; what has no weight is left out."""
        goal, parts, device = self.model.goal, self.parts, charged_w(self.model, 0)
        end_j = parts.device_s * device.compute_w + parts.upload_s * device.transmit_w
        servers_w = np.array([[charged_w(self.model, way.server).compute_w] for way in self.ways])
        columns = (self.latency_s, end_j, end_j + parts.server_s * servers_w)
        weighed = zip((goal.latency, goal.end_energy, goal.total_energy), columns, strict=True)
        return [values for weight, values in sorted(weighed, key=lambda one: -one[0]) if weight]

    def _at(self, row: int, cut: int) -> Plan:
        plan = self.ways[row].plan(self.model.profile, cut)
        raw_s = self.ways[row].s_per_byte * self.model.graph.payload_bytes[cut]
        return plan.coded([CODEC]) if self.coded_s[row, cut] < raw_s and plan.cuts else plan


def _cuts(graph: Graph) -> Flags:
    """Cuts behind an activation, the raw input and the answer, (n + 1,)."""
    acts = np.array([kind == "act" for kind in kinds_of(graph)])
    acts[-1] = True
    return np.concatenate([[True], acts]) if acts[:-1].any() else np.ones(len(acts) + 1, dtype=bool)
