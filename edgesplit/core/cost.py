"""The cost model: seconds and joules of a plan, and its score. All terms add up along the route."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, Stage, plan_along
from edgesplit.core.power import PHASES
from edgesplit.core.profile import Norms, Profile
from edgesplit.errors import PlanError, ProfileError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """What a plan costs by the model: one request's latency, joules and score.

    feasible: within the latency limit, the memory of each tier and the layers kept on the end.
    end_energy_u_j, total_energy_u_j: standard uncertainty from the watts; None where none is known.
    """

    plan: Plan
    latency_s: float
    compute_s: float
    end_energy_j: float
    total_energy_j: float
    score: float
    feasible: bool
    end_energy_u_j: float | None = None
    total_energy_u_j: float | None = None


@dataclass(frozen=True)
class Terms:
    """The three additive quantities, as arrays of one shape: seconds, end joules, total joules."""

    latency_s: Array
    end_j: Array
    total_j: Array


class CostModel:
    """Costs of every segment and every transfer, as arrays, for one (graph, profile, goal).

    compute.x[t, k]: tier t running layers 0..k in the runtime in use. transfer.x[u, v, k]: payload
    at cut k from tier u to v and the reply back; infinite where there is no link. Tiers are in the
    profile's order.
    """

    def __init__(self, graph: Graph, profile: Profile, goal: Goal) -> None:
        if len(profile.tiers[0].layer_s) != len(graph):
            raise ProfileError(
                f"profile has {len(profile.tiers[0].layer_s)} layers, {graph.name} {len(graph)}"
            )
        if goal.min_end_layers > len(graph):
            raise PlanError(
                f"min_end_layers is {goal.min_end_layers}, but {graph.name} has {len(graph)} layers"
            )
        self.graph, self.profile, self.goal = graph, profile, goal

    @cached_property
    def _watts(self) -> dict[str, Array]:
        """Per phase what is charged: all of it, or what is above an idle device."""
        powers = [tier.power for tier in self.profile.tiers]
        if self.goal.boundary == "gross":
            columns = np.array([p.watts for p in powers]).T
            return dict(zip(PHASES, columns, strict=True))
        charged = ("compute", "transmit", "receive")
        above = {name: np.array([p.above_idle_w(name) for p in powers]) for name in charged}
        return above | {"wait": np.zeros(len(powers))}

    @cached_property
    def compute(self) -> Terms:
        """Prefix sums over layers, shape (tiers, n + 1)."""
        tiers = self.profile.tiers
        seconds = np.zeros((len(tiers), len(self.graph) + 1))
        for row, tier in zip(seconds, tiers, strict=True):
            np.cumsum(np.asarray(tier.layer_s) * tier.slowdown, out=row[1:])
        end_w, total_w = self._computing_w
        return Terms(seconds, seconds * end_w[:, None], seconds * total_w[:, None])

    @cached_property
    def _computing_w(self) -> tuple[Array, Array]:
        """What is charged while each tier computes: to the end tier, and to all tiers."""
        busy, wait = self._watts["compute"], self._watts["wait"]
        end_w = np.full(len(busy), wait[0])
        end_w[0] = busy[0]
        return end_w, busy + (wait.sum() - wait)

    @cached_property
    def transfer(self) -> Terms:
        """One hop at each cut, reply included, shape (tiers, tiers, n + 1)."""
        count, cuts = len(self.profile.tiers), len(self.graph) + 1
        terms = Terms(*(np.full((count, count, cuts), np.inf) for _ in range(3)))
        index = {name: i for i, name in enumerate(self.profile.names)}
        links = {link.pair: link for link in self.profile.links}
        payload = np.asarray(self.graph.payload_bytes, dtype=float)
        watts = self._watts
        all_wait_w = watts["wait"].sum()
        for (source, target), link in links.items():
            back = links[target, source]
            u, v = index[source], index[target]
            out_s = payload / link.bytes_per_s
            reply_s = self.graph.output_bytes / back.bytes_per_s
            delay_s = link.latency_s + back.latency_s
            tx, rx, wait = watts["transmit"], watts["receive"], watts["wait"]
            others_w = all_wait_w - wait[u] - wait[v]
            terms.latency_s[u, v] = delay_s + out_s + reply_s
            terms.total_j[u, v] = (
                out_s * (tx[u] + rx[v] + others_w)
                + reply_s * (rx[u] + tx[v] + others_w)
                + delay_s * all_wait_w
            )
            if u == 0:
                end = out_s * tx[0] + reply_s * rx[0]
            elif v == 0:
                end = out_s * rx[0] + reply_s * tx[0]
            else:
                end = (out_s + reply_s) * wait[0]
            terms.end_j[u, v] = end + delay_s * wait[0]
        return terms

    @cached_property
    def norms(self) -> Norms:
        """The fixed norms, or the all-on-end plan's values where the profile has none."""
        if self.profile.norms is not None:
            return self.profile.norms
        last = (0, -1)
        terms = self.compute
        values = (terms.end_j[last], terms.total_j[last], terms.latency_s[last])
        return Norms(*(float(v) if v > 0 else 1.0 for v in values))

    def score(self, terms: Terms) -> Array:
        """The weighted, normalised sum of the three terms."""
        norms, goal = self.norms, self.goal
        parts = (
            (goal.end_energy / norms.end_energy_j, terms.end_j),
            (goal.total_energy / norms.total_energy_j, terms.total_j),
            (goal.latency / norms.latency_s, terms.latency_s),
        )
        total = np.zeros_like(terms.latency_s)
        for weight, values in parts:
            if weight:  # 0 x infinity would be NaN where there is no link
                total = total + weight * values
        return np.where(np.isfinite(terms.latency_s), total, np.inf)

    @cached_property
    def weight_prefix(self) -> Array:
        """Bytes of weights of layers 0..k, shape (n + 1,)."""
        return np.concatenate([[0.0], np.cumsum(self.graph.weight_bytes, dtype=float)])

    @cached_property
    def memory_bytes(self) -> Array:
        """Memory limit per tier, infinite where none is set."""
        limits = self.goal.memory_bytes
        for name in limits:
            self.profile.tier(name)
        return np.array([float(limits.get(name, np.inf)) for name in self.profile.names])

    def cost(self, plan: Plan) -> Cost:
        """What `plan` costs in the runtimes that it names, whichever are in use in the profile.

        Raises PlanError where it does not fit, uses a missing link, or a tier lacks the runtime.
        """
        plan.check(self.graph, self.profile.names).check_runtimes(self.profile.offered)
        index = {name: i for i, name in enumerate(self.profile.names)}
        route = [index[tier] for tier in plan.route]
        sums = np.zeros(3)
        compute_s = 0.0
        fits = plan.stages[0].stop >= self.goal.min_end_layers
        for t, stage in zip(route, plan.stages, strict=True):
            part = self._segment(t, stage)
            sums += part
            compute_s += float(part[0])
            need = self.weight_prefix[stage.stop] - self.weight_prefix[stage.start]
            fits = fits and bool(need <= self.memory_bytes[t])
        for u, v, cut in zip(route[:-1], route[1:], plan.cuts, strict=True):
            if not np.isfinite(self.transfer.latency_s[u, v, cut]):
                raise PlanError(
                    f"plan {plan}: no link {plan.route[route.index(u)]}->{self.profile.names[v]}"
                )
            sums += [x[u, v, cut] for x in _triple(self.transfer)]
        latency_s, end_j, total_j = (float(x) for x in sums)
        limit = self.goal.latency_limit_s
        feasible = fits and (limit is None or latency_s <= limit)
        score = float(self.score(Terms(*(np.array(x) for x in (latency_s, end_j, total_j)))))
        end_u_j, total_u_j = self._uncertainty(plan, latency_s)
        return Cost(plan, latency_s, compute_s, end_j, total_j, score, feasible, end_u_j, total_u_j)

    def _segment(self, t: int, stage: Stage) -> list[float]:
        """Seconds, end joules and total joules of one segment, added as `compute` adds them."""
        tier = self.profile.tiers[t]
        if stage.runtime == tier.runtime or not len(stage):
            return [x[t, stage.stop] - x[t, stage.start] for x in _triple(self.compute)]
        layer_s = np.asarray(tier.layer_s_in(stage.runtime)) * tier.slowdown
        prefix_s = np.concatenate([[0.0], np.cumsum(layer_s)])
        end_w, total_w = self._computing_w
        terms = (prefix_s, prefix_s * end_w[t], prefix_s * total_w[t])
        return [float(x[stage.stop] - x[stage.start]) for x in terms]

    def under(self, plan: Plan) -> "CostModel":
        """The same model and norms with the runtimes in use in which `plan` computes.

        Raises UnknownNameError where a tier has no such row.
        """
        runtimes = {stage.tier: stage.runtime for stage in plan.stages if len(stage)}
        profile = replace(self.profile.on(runtimes), norms=self.norms)
        return CostModel(self.graph, profile, self.goal)

    def _uncertainty(self, plan: Plan, latency_s: float) -> tuple[float | None, float | None]:
        """Standard uncertainty of the end's and of all joules, from that of the watts."""
        seconds = {name: dict.fromkeys(PHASES[:3], 0.0) for name in self.profile.names}
        for stage in plan.stages:
            tier = self.profile.tier(stage.tier)
            if len(stage):
                layer_s = tier.layer_s_in(stage.runtime)[stage.start : stage.stop]
                seconds[stage.tier]["compute"] = sum(layer_s) * tier.slowdown
        for source, target, cut in zip(plan.route[:-1], plan.route[1:], plan.cuts, strict=True):
            out, back = self.profile.link(source, target), self.profile.link(target, source)
            assert out is not None, "cost() has looked for the links"
            assert back is not None, "every link has its reverse"
            out_s = self.graph.payload_bytes[cut] / out.bytes_per_s
            reply_s = self.graph.output_bytes / back.bytes_per_s
            for name, sends_s, takes_s in ((source, out_s, reply_s), (target, reply_s, out_s)):
                seconds[name]["transmit"] += sends_s
                seconds[name]["receive"] += takes_s
        u_j = []
        for tier in self.profile.tiers:
            busy_s = sum(seconds[tier.name].values())
            is_gross = self.goal.boundary == "gross"
            rest = {"wait": latency_s - busy_s} if is_gross else {"idle": -busy_s}
            has_part = is_gross or busy_s > 0 or tier.name == self.profile.source
            u_j.append(tier.power.u_j(seconds[tier.name] | rest) if has_part else 0.0)
        return _known(u_j[0]), _known(math.sqrt(sum(u * u for u in u_j)))


def _triple(terms: Terms) -> tuple[Array, Array, Array]:
    return terms.latency_s, terms.end_j, terms.total_j


def _known(value: float) -> float | None:
    """None for NaN, which would make two equal costs differ."""
    return None if math.isnan(value) else value


def end_only(graph: Graph, profile: Profile) -> Plan:
    """Everything on the tier that holds the input: the plan the norms are taken from."""
    return plan_along([profile.source], [], len(graph)).on(profile.runtimes)
