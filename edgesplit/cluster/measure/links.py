"""How fast the links are before the first request: each is probed in its turn."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgesplit.cluster.actors.workload import TierHandle
from edgesplit.core.profile import Link
from edgesplit.errors import ClusterError

_PROBE_BYTES = 1 << 18
_REACH_TIMEOUT_S, _PROBE_TIMEOUT_S = 5.0, 30.0
AnswerOf = Callable[[Any, str], Any]


class LinkWarning(UserWarning):
    """Two tiers cannot reach each other; plans go other ways."""


def probe_links(
    tiers: Mapping[str, TierHandle],
    pairs: Sequence[tuple[str, str]],
    mark: str,
    get: AnswerOf,
) -> tuple[Link, ...]:
    """The links of pairs that reach each other both ways; a LinkWarning names the others.

    mark: stands before their provenance.
    get(call, what): waits for an actor's answer, with a time limit. Where nothing gets through and
    a tier's process has ended meanwhile, that says nothing of the link: ClusterError. Where all
    answer, the link is tried again, as one of them may have stood still.
    """
    before = _incarnations(tiers, get)
    found = {pair: _link(tiers, pair, mark, get) for pair in pairs}
    silent = [pair for pair, link in found.items() if link is None]
    if silent:
        if _incarnations(tiers, get) != before:
            raise ClusterError(
                "a tier's process ended while links were probed; send the input again"
            )
        found |= {pair: _link(tiers, pair, mark, get) for pair in silent}
        _warn([pair for pair in silent if found[pair] is None])
    return tuple(
        link
        for (u, v), link in found.items()
        if link is not None and found.get((v, u), link) is not None
    )


def _incarnations(tiers: Mapping[str, TierHandle], get: AnswerOf) -> list[str]:
    calls = {tier: handle.actor.incarnation.remote() for tier, handle in tiers.items()}
    return [get(call, f"tier {tier!r} to say which it is") for tier, call in calls.items()]


def _warn(silent: Sequence[tuple[str, str]]) -> None:
    if silent:
        named = ", ".join(f"{u} to {v}" for u, v in silent)
        warnings.warn(
            f"no payload gets through from {named}, so no plan goes that way; if it should, see "
            "the ports in docs/deploy.md",
            LinkWarning,
            stacklevel=3,
        )


def _link(
    tiers: Mapping[str, TierHandle], pair: tuple[str, str], mark: str, get: AnswerOf
) -> Link | None:
    """A link as its source finds it; None where nothing gets through."""
    source, target = pair
    actor, there = tiers[source].actor, (target, tiers[target].address)
    what = f"link {source}->{target} to be probed"
    if not get(actor.reaches.remote(there, _REACH_TIMEOUT_S), what):
        return None
    link: Link = get(actor.link.remote(there, _PROBE_BYTES, _PROBE_TIMEOUT_S), what)
    return replace(link, provenance=mark + link.provenance)
