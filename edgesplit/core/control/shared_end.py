"""Links that share an end with one that has just become slow: an uplink is slow for all of them.

Each link is learnt by itself. Without a look, the next plan would go around a slow link by another
one that has lost its rate for the same reason.
"""

from collections.abc import Mapping

from edgesplit.core.control.belief import Beliefs, Pair


def in_question(beliefs: Beliefs, since_s: float) -> Mapping[Pair, float]:
    """Links not measured since another one with the same source, or the same target, fell.

    By link the rate in bytes/s that is feared: that to which the other one fell. Falls before
    since_s count no more.
    """
    fallen = [(pair, link) for pair, link in beliefs.links.items() if link.fell_s >= since_s]
    rates = dict[Pair, float]()
    for pair, link in beliefs.links.items():
        near = [
            slow.rate.value
            for other, slow in fallen
            if pair != other
            and (pair[0] == other[0] or pair[1] == other[1])
            and link.seen_s < slow.fell_s
        ]
        if near and 2 * min(near) < link.rate.value:
            rates[pair] = min(near)
    return rates
