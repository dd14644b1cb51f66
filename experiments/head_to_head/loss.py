"""Where a score comes from that is above another policy's: each request's difference has one cause.

The causes' parts add up to the difference of the mean scores. They say where it arises; rules, not
a proof.
"""

from typing import Any

import numpy as np

from edgesplit.core.cost import CostModel
from experiments.head_to_head.served import Served

LAST = 10  # requests: a plan that the rival had within them is one that ours is late to leave
CAUSES = {
    "probes": "what the control loop asks costs joules, which the rival is spared",
    "failed over": "requests whose next tier was silent, or whose payload was taken back as late",
    "run twice": "requests that were hedged: joules of both runs, or a run that came second",
    "behind": "requests on a plan that the rival had left a few requests before",
    "another plan": "requests on another plan: its gain was below the margin, or figures differ",
    "queue": "requests on the same plan that waited longer for a tier or link",
    "same plan": "the rest, on the same plan",
}


def loss_of(ours: Served, rival: Served, cost: CostModel) -> dict[str, Any]:
    """By cause, what it adds to the mean score of ours over the rival's."""
    probes = ours.besides_score(cost) - rival.besides_score(cost)
    excess = ours.scores(cost) - rival.scores(cost) - probes
    causes = _causes(ours, rival)
    parts = {"probes": probes}
    for cause in list(CAUSES)[1:]:
        parts[cause] = float(excess[causes == cause].sum() / len(excess))
    return {f"by {cause}": part for cause, part in parts.items()}


def _causes(ours: Served, rival: Served) -> np.ndarray:
    """One of CAUSES per request."""
    found = np.full(len(ours.latency_s), "same plan", dtype=object)
    waits_more = ours.waited_s > rival.waited_s + 1e-3
    found[waits_more] = "queue"
    for number, (own, other) in enumerate(zip(ours.plans, rival.plans, strict=True)):
        if own != other:
            before = rival.plans[max(0, number - LAST) : number]
            found[number] = "behind" if own in before else "another plan"
    found[ours.hedged] = "run twice"
    found[ours.failed_over] = "failed over"
    return found


def main_causes(row: dict[str, Any]) -> list[tuple[str, float]]:
    """Causes of a row by their share of the difference, those first that make most of it."""
    difference = row["score"] - row["rival_score"]
    shares = [(cause, row[f"by {cause}"] / difference) for cause in CAUSES]
    return sorted(((c, s) for c, s in shares if s >= 0.1), key=lambda pair: -pair[1])
