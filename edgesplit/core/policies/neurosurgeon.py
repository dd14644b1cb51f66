"""Neurosurgeon: one cut between the device and a server, by regressed layer times.

Source: Kang, Hauswald, Gao, Rovinski, Mudge, Mars, Tang, ASPLOS 2017, doi 10.1145/3037697.3037698.
Read: the abstract; the rule is recalled, hence `-style`.
Rule: each layer's seconds come from a regression per kind of layer, the server's times its load
level K, which is its slowdown. Of all cuts the one of least device + upload + server seconds, or of
least joules of the device: its computing and its radio. An upload takes bytes / bandwidth; none is
charged where everything stays, nor is the answer's way back.
Ours: several servers are tried, each by the same rule; watts are the tier's, not a regression per
kind of layer; the features are those that a graph has.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgesplit.core.cost import Array, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.regression import regressed_s
from edgesplit.core.policies.uplink import least_plan, uplinks
from edgesplit.core.profile import Profile


@dataclass(frozen=True)
class Neurosurgeon:
    """The policy. target: what is least. predictor: `profile` knows all layers' times as they are.

    By regression the device is taken to be as quick as profiled: the rule has no load of its own
    device. By the profile both are as slow as they are now.
    """

    target: Literal["latency", "energy"] = "latency"
    predictor: Literal["regression", "profile"] = "regression"

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy. Raises PlanError."""
        model = CostModel(graph, profile, goal)
        ways, prefix_s = uplinks(model), self._prefix_s(model)
        servers, per_byte = [way.server for way in ways], np.array([w.s_per_byte for w in ways])
        device_s = prefix_s[0]
        upload_s = per_byte[:, None] * np.array(graph.payload_bytes, dtype=float)
        upload_s[:, -1] = 0.0
        latency_s = device_s + upload_s + (prefix_s[servers, -1:] - prefix_s[servers])
        if self.target == "latency":
            return least_plan(model, ways, latency_s)
        compute_w, radio_w = _device_w(model)
        return least_plan(model, ways, device_s * compute_w + upload_s * radio_w, latency_s)

    def _prefix_s(self, model: CostModel) -> Array:
        """Seconds of layers 0..k as predicted, (tiers, n + 1)."""
        if self.predictor == "profile":
            measured_s: Array = model.prefix_s[0]
            return measured_s
        tiers = model.profile.tiers
        load = np.array([1.0, *(tier.slowdown for tier in tiers[1:])])
        layer_s = regressed_s(model.graph, model.profile) * load[:, None]
        prefix_s = np.zeros((len(tiers), len(model.graph) + 1))
        np.cumsum(layer_s, axis=1, out=prefix_s[:, 1:])
        return prefix_s


def _device_w(model: CostModel) -> tuple[float, float]:
    """The device's watts while it computes and while it sends, as the goal's boundary has them."""
    power = model.profile.tiers[0].power
    if model.goal.boundary == "gross":
        return power.compute_w, power.transmit_w
    return power.above_idle_w("compute"), power.above_idle_w("transmit")
