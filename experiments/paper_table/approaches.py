"""The ways of choosing a plan that are compared, and rounds in which they take turns.

In a round every approach sends one request with the same input, in an order drawn for that round,
so that whatever else the machines do hits all of them alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from edgesplit import EdgeSplit, Explanation, Graph, Plan, plan_along
from experiments.shared.answer import Answer, ask

MIDDLE, BEST = "static-middle", "static-best"
ADAPTIVE, ORACLE = "adaptive", "oracle"
TRIVIAL = ("end-only", "edge-only", "cloud-only")
APPROACHES = (MIDDLE, BEST, *TRIVIAL, ADAPTIVE, ORACLE)

Plans = Mapping[str, Plan | None]
Answers = dict[str, list[Answer]]


@dataclass(frozen=True)
class Rounds:
    """warm_up rounds that do not count, then `count` that do; the seed draws the orders."""

    warm_up: int
    count: int
    seed: tuple[int, ...]


def middle(graph: Graph, tiers: Sequence[str]) -> Plan:
    """The layers in equal thirds along the tiers (as many parts as there are tiers)."""
    n = len(graph)
    return plan_along(tiers, [n * k // len(tiers) for k in range(1, len(tiers))], n)


def static_plans(split: EdgeSplit) -> dict[str, Plan]:
    """The plans that stay as they are, chosen by what is believed now.

    The middle one runs in torch, or in a tier's quickest runtime where it has no torch.
    """
    explanation, profile = split.explain(), split.profile
    return {
        MIDDLE: middle(split.graph, profile.names).on(profile.runtimes),
        BEST: explanation.chosen.plan,
        **_trivial(explanation),
    }


def _trivial(explanation: Explanation) -> dict[str, Plan]:
    """Everything on one tier, the input relayed there as the policy TIER-only does it."""
    return {f"{cost.plan.route[-1]}-only": cost.plan for cost in explanation.trivial}


def take_turns(
    split: EdgeSplit,
    plans: Plans,
    inputs: Sequence[torch.Tensor],
    rounds: Rounds,
    advance: Callable[[], None],
) -> Answers:
    """What each approach's requests gave, a list in the order of the counted rounds.

    A plan of None is the adaptive approach: the plan in force, whichever that is. The inputs take
    turns round by round; advance() is called after each round.
    """
    rng = np.random.default_rng(rounds.seed)
    names = list(plans)
    answers: Answers = {name: [] for name in names}
    for number in range(rounds.warm_up + rounds.count):
        for index in rng.permutation(len(names)):
            name = names[index]
            answer = ask(split, inputs[number % len(inputs)], plans[name])
            if number >= rounds.warm_up:
                answers[name].append(answer)
        advance()
    return answers
