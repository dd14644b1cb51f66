"""The cost model: seconds and joules of a plan, and its score. All terms add up along the route."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.accuracy_loss import granted_loss
from edgesplit.core.coding import Coding
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import PICTURE
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.power import PHASES
from edgesplit.core.profile import Link, Profile, ScoreReference
from edgesplit.core.scatter import Summand, sum_of
from edgesplit.errors import PlanError, ProfileError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """What a plan costs by the model: one request's latency, joules and score.

    compute_s: seconds of layers alone. codec_s: of encoding and decoding payloads, beside them,
        and of decoding the picture where requests come as files.
    feasible: within the latency limit, the memory of each tier, the layers kept on the end and the
        number of stages.
    end_energy_u_j, total_energy_u_j: standard uncertainty from the watts; None where none is known.
    quantile_s: the latency that is not exceeded with the goal's probability; None: it has none.
    price: what of the score is for the pressures of the tiers that compute.
    loss: the upper end of the accuracy that it costs, as measured.
    wait_s: what a request waits for others before it where they come close together; part of the
        score and of what a latency limit bounds, not of latency_s.
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
    quantile_s: float | None = None
    price: float = 0.0
    codec_s: float = 0.0
    loss: float = 0.0
    wait_s: float = 0.0

    @property
    def limited_s(self) -> float:
        """The seconds that a latency limit bounds."""
        return self.wait_s + (self.latency_s if self.quantile_s is None else self.quantile_s)


@dataclass(frozen=True)
class Terms:
    """The additive quantities, as arrays of one shape: seconds, end joules, total joules.

    priced_s: seconds of computing, each times its tier's price.
    """

    latency_s: Array
    end_j: Array
    total_j: Array
    priced_s: Array | float = 0.0

    def at(self, cut: int) -> "Terms":
        """Of hops, those at one cut."""
        priced_s = self.priced_s if isinstance(self.priced_s, float) else self.priced_s[..., cut]
        columns = (self.latency_s, self.end_j, self.total_j)
        latency_s, end_j, total_j = (column[..., cut] for column in columns)
        return Terms(latency_s, end_j, total_j, priced_s)


@dataclass(frozen=True)
class PlannedHop:
    """One hop of a plan. sums: seconds, end joules, total joules, in that order.

    sent_bytes: of the payload as it travels. link_s: its way and the reply's. encode_s, decode_s:
    at the source and at the target; encode_s also of decoding a picture that came as a file, where
    the source does that only to send it on. priced_s: of these two, times the price of each tier.
    """

    sums: tuple[float, ...]
    sent_bytes: float
    link_s: float
    encode_s: float
    decode_s: float
    priced_s: float


class CostModel:
    """Costs of every segment and every transfer, as arrays, for one (graph, profile, goal).

    compute.x[t, k]: tier t running layers 0..k in the runtime in use; prefix_s[r, t, k]: seconds in
    each of its runtimes. transfer.x[c, u, v, k]: payload at cut k in codec c from tier u to v and
    the reply back; infinite where there is no link, or where that codec may not be used. Codec 0 is
    a payload as it is. Tiers, runtimes and codecs are in the profile's order.

    level: a search under a latency limit takes the mean of each tier's and link's seconds beyond
        that quantile of its own; None: as expected. What a plan costs does not depend on it.
    """

    def __init__(
        self, graph: Graph, profile: Profile, goal: Goal, level: float | None = None
    ) -> None:
        if len(profile.tiers[0].layer_s) != len(graph):
            raise ProfileError(
                f"profile has {len(profile.tiers[0].layer_s)} layers, {graph.name} {len(graph)}"
            )
        if goal.min_end_layers > len(graph):
            raise PlanError(
                f"min_end_layers is {goal.min_end_layers}, but {graph.name} has {len(graph)} layers"
            )
        self.graph, self.profile, self.goal, self.level = graph, profile, goal, level

    def at(self, level: float | None) -> "CostModel":
        """The same model at that level."""
        profile = replace(self.profile, score_reference=self.score_reference)
        return CostModel(self.graph, profile, self.goal, level)

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
    def prefix_s(self) -> Array:
        """Seconds of layers 0..k, shape (runtimes, tiers, n + 1), first the runtime in use.

        A tier with fewer runtimes than another has the one in use again.
        """
        tiers = self.profile.tiers
        count = max(len(tier.runtimes) for tier in tiers)
        seconds = np.zeros((count, len(tiers), len(self.graph) + 1))
        for t, tier in enumerate(tiers):
            seconds[:, t, 1:] = np.cumsum(np.asarray(tier.layer_s) * tier.slowdown)
            for r, times in enumerate(tier.layer_times, 1):
                seconds[r, t, 1:] = np.cumsum(np.asarray(times.layer_s) * tier.slowdown)
        return seconds

    @cached_property
    def factors(self) -> tuple[Array, Array] | None:
        """What the level makes of a second: of tiers, (tiers,), and of links, (tiers, tiers)."""
        if self.level is None:
            return None
        count = len(self.profile.tiers)
        tiers, links = np.ones(count), np.ones((count, count))
        for t, tier in enumerate(self.profile.tiers):
            tiers[t] = tier.scatter.shortfall(self.level) if tier.scatter else 1.0
        index = {name: i for i, name in enumerate(self.profile.names)}
        for link in self.profile.links:
            if link.scatter:
                pair = index[link.source], index[link.target]
                links[pair] = link.scatter.shortfall(self.level)
        return tiers, links

    @cached_property
    def compute(self) -> Terms:
        """Prefix sums over layers in the runtime in use, shape (tiers, n + 1)."""
        return self.computing(self.prefix_s[0])

    def computing(self, seconds: Array) -> Terms:
        """What computing for `seconds` takes, shape (..., tiers, n + 1)."""
        end_w, total_w = self._computing_w
        priced_s = seconds * self.prices[:, None] if self.prices.any() else 0.0
        return Terms(seconds, seconds * end_w[:, None], seconds * total_w[:, None], priced_s)

    @cached_property
    def prices(self) -> Array:
        """Of a second of each tier's computing, in seconds of latency at weight 1, (tiers,)."""
        goal = self.goal
        pressures = (tier.pressure for tier in self.profile.tiers)
        return np.array([p.total(goal.load, goal.temperature, goal.memory) for p in pressures])

    @cached_property
    def _computing_w(self) -> tuple[Array, Array]:
        """What is charged while each tier computes: to the end tier, and to all tiers."""
        busy, wait = self._watts["compute"], self._watts["wait"]
        end_w = np.full(len(busy), wait[0])
        end_w[0] = busy[0]
        return end_w, busy + (wait.sum() - wait)

    @cached_property
    def coding(self) -> Coding:
        """What codecs make of payloads."""
        return Coding(self.graph, self.profile, self.goal)

    @cached_property
    def transfer(self) -> Terms:
        """One hop at each cut, coding and reply included, shape (codecs, tiers, tiers, n + 1)."""
        link, coding = self.on_links, self.coding
        if len(coding) == 1:
            return link
        encode, decode = (self.computing(seconds) for seconds in coding.seconds)
        latency_s, end_j, total_j = (
            np.where(coding.unusable, np.inf, over + before[:, :, None] + after[:, None])
            for over, before, after in zip(*map(_triple, (link, encode, decode)), strict=True)
        )
        if isinstance(encode.priced_s, float) or isinstance(decode.priced_s, float):
            return Terms(latency_s, end_j, total_j)
        priced_s = encode.priced_s[:, :, None] + decode.priced_s[:, None]
        return Terms(latency_s, end_j, total_j, priced_s)

    @cached_property
    def on_links(self) -> Terms:
        """The same without coding: what the links take."""
        count, cuts = len(self.profile.tiers), len(self.graph) + 1
        shape = (len(self.coding), count, count, cuts)
        terms = Terms(*(np.full(shape, np.inf) for _ in range(3)))
        index = {name: i for i, name in enumerate(self.profile.names)}
        links = {link.pair: link for link in self.profile.links}
        # One codec alone, as it mostly is, is quicker without its axis.
        every = 0 if len(self.coding) == 1 else slice(None)
        payload = self.coding.sent_bytes[every]
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
            terms.latency_s[every, u, v] = delay_s + out_s + reply_s
            terms.total_j[every, u, v] = (
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
            terms.end_j[every, u, v] = end + delay_s * wait[0]
        return terms

    @cached_property
    def usable_runtimes(self) -> list[tuple[list[int], list[int]]]:
        """Of each tier: its runtimes that lose nothing, and lossy ones granted, by their number."""
        most = self.goal.max_accuracy_loss
        found = list[tuple[list[int], list[int]]]()
        for tier in self.profile.tiers:
            losses = [tier.loss, *(times.loss for times in tier.layer_times)]
            exact = [r for r, loss in enumerate(losses) if loss is None]
            granted = [
                r
                for r, loss in enumerate(losses)
                if most is not None and loss is not None and loss <= most
            ]
            found.append((exact, granted))
        return found

    @cached_property
    def score_reference(self) -> ScoreReference:
        """The fixed reference, or the all-on-end plan's values where the profile has none."""
        if self.profile.score_reference is not None:
            return self.profile.score_reference
        last = (0, -1)
        terms = self.compute
        values = (terms.end_j[last], terms.total_j[last], terms.latency_s[last])
        return ScoreReference(*(float(v) if v > 0 else 1.0 for v in values))

    @cached_property
    def _shares(self) -> tuple[float, float, float, float]:
        """Of the score, per joule of the end, per joule of all tiers, per second, priced second."""
        score_reference, goal = self.score_reference, self.goal
        return (
            goal.end_energy / score_reference.end_energy_j,
            goal.total_energy / score_reference.total_energy_j,
            goal.latency / score_reference.latency_s,
            1 / score_reference.latency_s,
        )

    def score(self, terms: Terms) -> Array:
        """The weighted, normalised sum of the terms."""
        columns = (terms.end_j, terms.total_j, terms.latency_s, terms.priced_s)
        parts = zip(self._shares, columns, strict=True)
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

        Raises PlanError where it does not fit, uses a missing link, where a tier lacks the runtime
        or a codec, and for a loss that is not granted.
        """
        plan.check(self.graph, self.profile.names).check_runtimes(self.profile.offered)
        index = {name: i for i, name in enumerate(self.profile.names)}
        loss = granted_loss(plan, self.profile, self.goal.max_accuracy_loss)
        route = [index[tier] for tier in plan.route]
        sums, busy_s, parts = [0.0, 0.0, 0.0], list[float](), list[Summand]()
        compute_s = priced_s = codec_s = 0.0
        most = self.goal.max_stages
        fits = plan.stages[0].stop >= self.goal.min_end_layers
        fits = fits and (most is None or len(plan.stages) <= most)
        opener, opening_s = self.opening(plan)
        for at, (t, stage) in enumerate(zip(route, plan.stages, strict=True)):
            decoding_s = opening_s if at == opener and len(stage) else 0.0
            part = self._segment(t, stage, decoding_s)
            sums = [a + b for a, b in zip(sums, part, strict=True)]
            compute_s += part[0] - decoding_s
            codec_s += decoding_s
            priced_s += part[0] * float(self.prices[t])
            busy_s.append(part[0])
            need = self.weight_prefix[stage.stop] - self.weight_prefix[stage.start]
            fits = fits and bool(need <= self.memory_bytes[t])
        hops = [self.hop(plan, at) for at in range(len(route) - 1)]
        for at, hop in enumerate(hops):
            sums = [a + b for a, b in zip(sums, hop.sums, strict=True)]
            busy_s[at] += hop.encode_s
            busy_s[at + 1] += hop.decode_s
            codec_s += hop.encode_s + hop.decode_s
            priced_s += hop.priced_s
            parts.append((hop.link_s, self._link(*route[at : at + 2]).scatter))
        # A tier's own seconds are longer together: layers, encoding and decoding are one part.
        tiers = [(s, self.profile.tiers[t].scatter) for s, t in zip(busy_s, route, strict=True)]
        parts = [*tiers, *parts]
        latency_s, end_j, total_j = sums
        limit, probability = self.goal.latency_limit_s, self.goal.probability
        quantile_s = None if probability is None else sum_of(parts).quantile(probability)
        limited_s = latency_s if quantile_s is None else quantile_s
        feasible = fits and (limit is None or limited_s <= limit)
        shares = zip(self._shares, (end_j, total_j, latency_s, priced_s), strict=True)
        score = sum(share * value for share, value in shares if share)
        price = self._shares[-1] * priced_s
        end_u_j, total_u_j = self._uncertainty(plan, hops, latency_s)
        return Cost(
            plan, latency_s, compute_s, end_j, total_j, score, feasible, end_u_j, total_u_j,
            quantile_s, price, codec_s, loss,
        )  # fmt: skip

    def busy_score(self, tier: str, phase: str, seconds: float) -> float:
        """What the joules above idle of a tier that is busy for so long add to a score."""
        t = self.profile.names.index(tier)
        joules = self.profile.tiers[t].power.above_idle_w(phase) * seconds
        end, total, *_ = self._shares
        return joules * (total if t else end + total)

    def period_s(self, plan: Plan) -> float:
        """Seconds for which one request keeps the busiest tier or link of the plan.

        Raises PlanError as cost() does.
        """
        opener, opening_s = self.opening(plan)
        busy_s, links_s = list[float](), list[float]()
        for at, stage in enumerate(plan.stages):
            decoding_s = opening_s if at == opener and len(stage) else 0.0  # else it is of the hop
            t = self.profile.names.index(stage.tier)
            busy_s.append(self._segment(t, stage, decoding_s)[0])
        for at, (source, target) in enumerate(pairwise(plan.route)):
            hop, link = self.hop(plan, at), self.profile.link(source, target)
            assert link is not None, "hop() has looked for it"
            busy_s[at] += hop.encode_s
            busy_s[at + 1] += hop.decode_s
            links_s.append(hop.sent_bytes / link.bytes_per_s)
        return max(busy_s + links_s)

    def crowded(self, cost: Cost, wait_s: float) -> Cost:
        """The same cost where a request waits so long for others before it."""
        limit = self.goal.latency_limit_s
        score = cost.score + self._shares[2] * wait_s
        cost = replace(cost, score=score, wait_s=wait_s)
        return replace(cost, feasible=cost.feasible and (limit is None or cost.limited_s <= limit))

    def opening(self, plan: Plan) -> tuple[int, float]:
        """(number of the stage, seconds) where the plan decodes a picture that came as a file.

        That is the first one that does anything else with it than to pass it on. 0 seconds where
        requests come with their payload as it is.
        """
        seconds, at = self.coding.opening_s, 0
        if seconds is None:
            return 0, 0.0
        while plan.stages[at].codec == PICTURE and not len(plan.stages[at]):
            at += 1
        return at, float(seconds[self.profile.names.index(plan.stages[at].tier)])

    def hop(self, plan: Plan, at: int) -> "PlannedHop":
        """What the plan's hop behind its stage `at` takes. Raises PlanError where it cannot be."""
        stage, after, cut = plan.stages[at], plan.stages[at + 1], plan.stages[at].stop
        opener, opening_s = self.opening(plan)
        if stage.codec == PICTURE and at >= opener and self.coding.picture is not None:
            raise PlanError(
                f"plan {plan}: {stage.tier} has no picture's file to send on; it travels as "
                f"{PICTURE} from the first tier on, while no tier runs a layer"
            )
        u, v = (self.profile.names.index(one.tier) for one in (stage, after))
        if not math.isfinite(self.transfer.latency_s[0, u, v, cut]):
            raise PlanError(f"plan {plan}: no link {stage.tier}->{after.tier}")
        c = self.coding.index(stage.codec)
        if c is None or not math.isfinite(self.transfer.latency_s[c, u, v, cut]):
            ends = self.profile.tiers[u], self.profile.tiers[v]
            why = self.coding.why_not(stage.codec, cut, ends)
            raise PlanError(f"plan {plan}: cut {cut} cannot travel as {stage.codec}: {why}")
        opening_s = opening_s if at == opener and not len(stage) else 0.0
        encode_s, decode_s = self.coding.seconds
        priced_s = self.transfer.priced_s
        priced_s = priced_s if isinstance(priced_s, float) else float(priced_s[c, u, v, cut])
        sums = zip(_triple(self.transfer), self._charges(u), strict=True)
        return PlannedHop(
            tuple(float(x[c, u, v, cut]) + opening_s * charge for x, charge in sums),
            float(self.coding.sent_bytes[c, cut]),
            float(self.on_links.latency_s[c, u, v, cut]),
            float(encode_s[c, u, cut]) + opening_s,
            float(decode_s[c, v, cut]),
            priced_s + opening_s * float(self.prices[u]),
        )

    def _link(self, u: int, v: int) -> Link:
        link = self.profile.link(self.profile.names[u], self.profile.names[v])
        assert link is not None, "its transfer is finite"
        return link

    def _segment(self, t: int, stage: Stage, decoding_s: float) -> list[float]:
        """Seconds, end joules and total joules of one segment, added as `compute` adds them.

        decoding_s: of the picture that came, before its layers.
        """
        row = self.profile.tiers[t].runtimes.index(stage.runtime) if len(stage) else 0
        start_s, stop_s = self.prefix_s[row, t, [stage.start, stage.stop]].tolist()
        stop_s += decoding_s
        return [stop_s * charge - start_s * charge for charge in self._charges(t)]

    def _charges(self, t: int) -> tuple[float, float, float]:
        """A second of that tier's computing in seconds, end joules and total joules."""
        end_w, total_w = self._computing_w
        return 1.0, float(end_w[t]), float(total_w[t])

    def under(self, plan: Plan) -> "CostModel":
        """The same model and reference with the runtimes in use in which `plan` computes.

        Raises UnknownNameError where a tier has no such layer times.
        """
        runtimes = {stage.tier: stage.runtime for stage in plan.stages if len(stage)}
        profile = replace(self.profile.on(runtimes), score_reference=self.score_reference)
        return CostModel(self.graph, profile, self.goal)

    def _uncertainty(
        self, plan: Plan, hops: list["PlannedHop"], latency_s: float
    ) -> tuple[float | None, float | None]:
        """Standard uncertainty of the end's and of all joules, from that of the watts."""
        seconds = {name: dict.fromkeys(PHASES[:3], 0.0) for name in self.profile.names}
        for stage in plan.stages:
            tier = self.profile.tier(stage.tier)
            if len(stage):
                layer_s = tier.layer_s_in(stage.runtime)[stage.start : stage.stop]
                seconds[stage.tier]["compute"] = sum(layer_s) * tier.slowdown
        opener, opening_s = self.opening(plan)
        if len(plan.stages[opener]):  # else it is of the hop
            seconds[plan.stages[opener].tier]["compute"] += opening_s
        for (source, target), hop in zip(pairwise(plan.route), hops, strict=True):
            out, back = self.profile.link(source, target), self.profile.link(target, source)
            assert out is not None, "cost() has looked for the links"
            assert back is not None, "every link has its reverse"
            seconds[source]["compute"] += hop.encode_s
            seconds[target]["compute"] += hop.decode_s
            out_s = hop.sent_bytes / out.bytes_per_s
            reply_s = self.graph.output_bytes / back.bytes_per_s
            for name, sends_s, takes_s in ((source, out_s, reply_s), (target, reply_s, out_s)):
                seconds[name]["transmit"] += sends_s
                seconds[name]["receive"] += takes_s
        u_j = []
        for tier in self.profile.tiers:
            busy_s = sum(seconds[tier.name].values())
            is_gross = self.goal.boundary == "gross"
            rest = {"wait": latency_s - busy_s} if is_gross else {"idle": -busy_s}
            has_part = is_gross or busy_s > 0 or tier.name == self.profile.entry_tier
            u_j.append(tier.power.u_j(seconds[tier.name] | rest) if has_part else 0.0)
        return _known(u_j[0]), _known(math.sqrt(sum(u * u for u in u_j)))


def _triple(terms: Terms) -> tuple[Array, Array, Array]:
    return terms.latency_s, terms.end_j, terms.total_j


def _known(value: float) -> float | None:
    """None for NaN, which would make two equal costs differ."""
    return None if math.isnan(value) else value
