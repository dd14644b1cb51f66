"""Policies by name: ours, the published ones, everything on one tier, or a plan's text."""

from collections.abc import Sequence

from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import FixedPlan, Policy, fastest, only, plays, score
from edgesplit.core.policies.published import PUBLISHED
from edgesplit.core.policies.trivial import RandomPlan
from edgesplit.errors import UnknownNameError


def named_policies(tiers: Sequence[str]) -> dict[str, Policy]:
    """By name those worth comparing: ours, everything on one of `tiers`, published ones."""
    named: dict[str, Policy] = {"score": score, "fastest": fastest}
    named |= {name: one.policy for name, one in PUBLISHED.items()}
    return named | {f"{tier}-only": only(tier) for tier in tiers}


def policy_named(text: str, tiers: Sequence[str]) -> Policy:
    """The policy that `text` names: score, fastest, random, TIER-only, a published one, or a plan.

    Raises UnknownNameError for another name or an unknown tier, PlanError for a malformed plan.
    """
    named = named_policies(tiers) | {"random": RandomPlan()}
    if text in named:
        return named[text]
    node = text.removesuffix("-only")
    if node != text and any(plays(node, tier) for tier in tiers):
        return only(node)
    if ":" not in text:
        raise UnknownNameError(
            f"no policy {text!r}; there are {', '.join(named)}, or a plan such as "
            f"'{tiers[0]}:0-12 | {tiers[-1]}:12-38'"
        )
    plan = parse_plan(text)
    for tier in plan.route:
        if not any(plays(tier, one) for one in tiers):
            raise UnknownNameError(f"plan {plan}: no tier {tier!r}; known: {', '.join(tiers)}")
    return FixedPlan(plan)
