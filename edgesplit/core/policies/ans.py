"""ANS, Autodidactic Neurosurgeon: a bandit over cuts that knows no server, muLinUCB.

Source: Zhang, Chen, Xu, WWW 2021, arXiv 2102.02638.
Read: the source.
Rule: the device's seconds of each cut are known, the delay behind it is linear in seven features of
what runs there and is learned from requests. The cut of least device seconds + expected delay -
alpha times the width of its confidence is taken. Since nothing is learned while all runs on the
device, every few frames that choice is ruled out.
Ours: features are scaled (cut_features.py); each server has a regression of its own and is tried;
theirs gives key frames of a video more weight, requests here are all alike. As published nothing is
forgotten: a link that becomes better is found only if what is tried meanwhile shows it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgesplit.core.cost import Array, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.cut_features import FEATURES, cut_features
from edgesplit.core.policies.seeded import draws, pick
from edgesplit.core.policies.uplink import allowed_cuts, least_plan, uplinks
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming

# Constants of the source. Delays are in milliseconds there.
DELTA, C_NOISE, C_THETA, L_KEY, L_OTHER = 0.1, 0.05, 1.0, 0.8, 0.2
FIRST_HORIZON, FORCED_POWER, DIAGONAL = 200, 0.25, 8
_MS = 1e3


@dataclass(frozen=True)
class ServerDelays:
    """The ridge regression of the delays behind the cuts to one server.

    gram: A, the features' products, row by row. moment: b, features times milliseconds.
    """

    server: str
    gram: tuple[float, ...]
    moment: tuple[float, ...]

    def after(self, features: Array, delay_ms: float) -> "ServerDelays":
        """With one more delay."""
        gram = np.array(self.gram) + np.outer(features, features).ravel()
        moment = np.array(self.moment) + features * delay_ms
        return ServerDelays(self.server, tuple(gram.tolist()), tuple(moment.tolist()))

    def hoped_ms(self, features: Array, alpha: float) -> Array:
        """The least delay to be hoped for behind each cut. features: (cuts, FEATURES)."""
        inverse = np.linalg.inv(np.array(self.gram).reshape(FEATURES, FEATURES))
        expected = features @ (inverse @ np.array(self.moment))
        variance = np.einsum("ki,ij,kj->k", features, inverse, features)
        width = np.sqrt((1 - L_OTHER) * np.maximum(variance, 0.0))
        least_ms: Array = expected - alpha * width
        return least_ms


@dataclass(frozen=True)
class Ans:
    """The policy, with the source's constants, and what it has learned.

    seed: of the regressions' first diagonals, whole numbers from 1 to 8. frame: within the horizon,
    which doubles when it is passed, and the period of forced exploration with it.
    """

    seed: int = 0
    frame: int = 1
    horizon: int = FIRST_HORIZON
    servers: tuple[ServerDelays, ...] = ()

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy."""
        model = CostModel(graph, profile, goal)
        ways, features = uplinks(model), cut_features(graph, profile.tiers[0])
        alpha = _alpha(self.horizon, features)
        device_s = np.concatenate([[0.0], np.cumsum(profile.tiers[0].layer_s)])
        hoped_ms = np.tile(device_s * _MS, (len(ways), 1))
        for row, way in enumerate(ways[1:], 1):
            hoped_ms[row] += self._of(profile.names[way.server]).hoped_ms(features, alpha)
        is_away = allowed_cuts(model, ways)[:, :-1].any()
        if is_away and self.frame % _period(self.horizon) == 0:
            hoped_ms[:, -1] = np.inf
        return least_plan(model, ways, hoped_ms)

    def after(self, graph: Graph, profile: Profile, timings: Sequence[TierTiming]) -> "Ans":
        """With the delay behind the cut, where the request had one cut and all went as planned."""
        frame, horizon = self.frame + 1, self.horizon
        if frame > horizon:
            frame, horizon = 0, 2 * horizon
        now = replace(self, frame=frame, horizon=horizon)
        server = _server(timings)
        if server is None:
            return now
        features = cut_features(graph, profile.tiers[0])[timings[0].stop]
        learned = self._of(server).after(features, timings[0].hop_s * _MS)
        servers = {one.server: one for one in (*self.servers, learned)}
        return replace(now, servers=tuple(servers[name] for name in sorted(servers)))

    def _of(self, server: str) -> ServerDelays:
        for known in self.servers:
            if known.server == server:
                return known
        numbers = draws("ans", self.seed, server)
        diagonal = [1.0 + pick(numbers, DIAGONAL) for _ in range(FEATURES)]
        return ServerDelays(server, tuple(np.diag(diagonal).ravel().tolist()), (0.0,) * FEATURES)


def _alpha(horizon: int, features: Array) -> float:
    """The weight of the confidence's width, in milliseconds."""
    largest = float((features**2).sum(axis=1).max())
    spread = math.sqrt(FEATURES * math.log((1 + horizon * largest**2) / DELTA))
    return (C_THETA + C_NOISE * spread) / (1 - L_KEY)


def _period(horizon: int) -> int:
    """Of how many frames one must leave the device."""
    return math.ceil(math.pow(horizon, FORCED_POWER))


def _server(timings: Sequence[TierTiming]) -> str | None:
    """The tier behind the only cut; None where there is none, or another, or a tier failed over."""
    if any(timing.failed_over for timing in timings):
        return None
    behind = [timing.tier for timing in timings[1:] if timing.stop > timing.start]
    return behind[0] if len(behind) == 1 else None
