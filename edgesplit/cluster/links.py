"""How fast the links are before the first request: each is probed in its turn."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgesplit.cluster.loop import TierHandle
from edgesplit.core.profile import Link

_PROBE_BYTES = 1 << 18
_PROBES = 3
_REACH_TIMEOUT_S, _PROBE_TIMEOUT_S = 5.0, 30.0
Get = Callable[[Any, str], Any]


class LinkWarning(UserWarning):
    """Two tiers cannot reach each other; plans go other ways."""


def probe_links(
    tiers: Mapping[str, TierHandle], pairs: Sequence[tuple[str, str]], origin: str, get: Get
) -> tuple[Link, ...]:
    """The links that carry anything; a LinkWarning names the others.

    get(call, what): waits for an actor's answer, with a time limit.
    """
    found = {pair: _link(tiers, pair, origin, get) for pair in pairs}
    silent = [f"{u} to {v}" for (u, v), link in found.items() if link is None]
    if silent:
        warnings.warn(
            f"no payload gets through from {', '.join(silent)}, so no plan goes that way; if it "
            "should, see the ports in docs/deploy.md",
            LinkWarning,
            stacklevel=2,
        )
    return tuple(link for link in found.values() if link is not None)


def _link(
    tiers: Mapping[str, TierHandle], pair: tuple[str, str], origin: str, get: Get
) -> Link | None:
    """A link as three probes find it; None where nothing gets through."""
    source, target = pair
    actor, there = tiers[source].actor, (target, tiers[target].address)
    what = f"link {source}->{target} to be probed"
    if not get(actor.reaches.remote(there, _REACH_TIMEOUT_S), what):
        return None
    answers = [
        get(actor.probe.remote(there, _PROBE_BYTES, _PROBE_TIMEOUT_S), what)
        for _ in range(_PROBES)  # one after another: together they would share the link
    ]
    latency_s = min(latency for _, latency in answers)
    bulk_s = min(seconds for seconds, _ in answers) - 2 * latency_s
    return Link(source, target, latency_s, _PROBE_BYTES / max(bulk_s, 1e-6), origin)
