"""What each measurement adds to the beliefs about links.

A rate is only learnt from a payload whose time stands out of the latency; where it does not, the
measurement still shows that the rate is at least so much.
"""

from edgesplit.core.control.belief import LATENCY_LEAST_S, Beliefs, LinkBelief, Pair
from edgesplit.core.control.event import LinkProbed, Transferring
from edgesplit.core.hedge import LEAST_S
from edgesplit.core.tier_timing import Transfer

_PAYLOAD_LEAST_BYTES = 4096  # a smaller payload is a few packets: its time is latency
_TRANSFER_LEAST_S = 3e-4  # what scheduling jitter can hide on a busy machine
_TRANSFER_PER_LATENCY = 0.5  # of the round trip's latency: what its jitter can hide
_SURE_S, _SURE_FACTOR = 2.0, 2.0  # so late, and so much too slow, is no jitter: believed at once
_TELLING_S, _TELLING_LEAST_S = 1.0, 0.4  # of a payload that moves: the rate it shows is believed
_TAKEN_BACK = 8  # payloads in a row, until their link is believed to be slow
_AS_FEARED = 4.0  # times the rate of a link that fell: below, this one has fallen with it


def learn_probe(beliefs: Beliefs, event: LinkProbed, feared_rate: float | None = None) -> Beliefs:
    """What a probed link adds: the latency of both directions, the rate of the probed one.

    feared_rate: to which another link at one of its ends has just fallen (shared_end.py). A rate
    near that is believed at once.
    """
    pair = (event.source, event.target)
    beliefs = _learn_hop(beliefs, pair, (event.sent_bytes, 0), event.seconds)
    latency_s = max(event.latency_s, LATENCY_LEAST_S)
    for way in (pair, pair[::-1]):
        latency = beliefs.links[way].latency.updated(latency_s)
        beliefs = beliefs.with_latency(way, latency, event.at_s)
    delay_s = 2 * event.latency_s
    seconds = event.seconds - delay_s
    if feared_rate is not None and 0 < event.sent_bytes < _AS_FEARED * feared_rate * seconds:
        rate = beliefs.links[pair].rate.replaced(event.sent_bytes / seconds)
        return beliefs.with_rate(pair, rate, event.at_s)
    return _learn_rate(beliefs, pair, (event.sent_bytes, seconds, delay_s), event.at_s)


def learn_transferring(beliefs: Beliefs, event: Transferring) -> Beliefs:
    """What a payload adds that has not arrived yet: that its link is slower than believed.

    A second of bulk that moves at less than half the rate is believed at once, half a second at a
    quarter of it, and so on. One that was given up, pauses included, puts the rate in doubt, and
    the next one in a row is believed. Of a few packets the rate is at most so much. A faster one
    says so at its end.
    """
    is_bulk = event.sent_bytes >= _PAYLOAD_LEAST_BYTES and event.seconds >= _TRANSFER_LEAST_S
    if not is_bulk and event.seconds < _TELLING_LEAST_S and event.is_over:
        return _learn_taken_back(beliefs, event)
    if not is_bulk and event.seconds < _TELLING_LEAST_S:
        return beliefs
    pair = event.source, event.target
    rate = beliefs.links[pair].rate
    observed = max(event.sent_bytes, _PAYLOAD_LEAST_BYTES) / event.seconds
    telling_s = max(_TELLING_LEAST_S, _TELLING_S * _SURE_FACTOR * observed / rate.value)
    is_sure, is_slow = event.seconds >= telling_s, observed * _SURE_FACTOR < rate.value
    if event.is_over:
        is_sure = rate.suspicious and rate.last * _SURE_FACTOR < rate.value
    if event.is_over or (is_sure and is_slow):
        # Or the slowest would not be in the tail that a promise looks at.
        beliefs = beliefs.with_link_ratio(pair, rate.value / observed)
    if is_sure and is_slow:
        return beliefs.with_rate(pair, rate.replaced(observed), event.at_s)
    if event.is_over and is_slow:
        return beliefs.with_rate(pair, rate.updated(observed), event.at_s)
    return beliefs


def _learn_taken_back(beliefs: Beliefs, event: Transferring) -> Beliefs:
    """What a payload adds that was taken back soon after it began to leave.

    It was cheap to try, and the next one may find that a short fade is over. So the link is taken
    to be slow only where several in a row were taken back; a pause says nothing.
    """
    pair = event.source, event.target
    link = beliefs.links[pair]
    observed = max(event.sent_bytes, _PAYLOAD_LEAST_BYTES) / max(event.seconds, LEAST_S)
    if not event.sent_bytes or observed * _SURE_FACTOR >= link.rate.value:
        return beliefs
    if link.taken_back + 1 < _TAKEN_BACK:
        return beliefs.with_taken_back(pair)
    return beliefs.with_rate(pair, link.rate.replaced(observed), event.at_s)


def learn_transfer(beliefs: Beliefs, seen: Transfer, at_s: float) -> Beliefs:
    """What a payload and its reply add.

    The round trip is charged to the direction that carried more, the other one as believed.
    """
    pair, back = (seen.source, seen.target), (seen.target, seen.source)
    beliefs = _learn_hop(beliefs, pair, (seen.sent_bytes, seen.reply_bytes), seen.seconds)
    there_link, back_link = beliefs.links[pair], beliefs.links[back]
    delay_s = _delay_s(there_link) + _delay_s(back_link)
    if seen.sent_bytes >= seen.reply_bytes:
        seconds = seen.seconds - delay_s - seen.reply_bytes / back_link.rate.value
        seconds = min(seconds, seen.gap_s)
        return _learn_rate(beliefs, pair, (seen.sent_bytes, seconds, delay_s), at_s)
    seconds = seen.seconds - delay_s - seen.sent_bytes / there_link.rate.value
    return _learn_rate(beliefs, back, (seen.reply_bytes, seconds, delay_s), at_s)


def _learn_hop(beliefs: Beliefs, pair: Pair, sizes: tuple[int, int], seconds: float) -> Beliefs:
    """Compare a payload's way and the reply's back with what is believed, where they stand out.

    sizes: bytes there and back.
    """
    out, back = beliefs.links[pair], beliefs.links[pair[::-1]]
    busy_s = sizes[0] / out.rate.value + sizes[1] / back.rate.value
    delay_s = out.latency.value + back.latency.value
    least_s = max(_TRANSFER_LEAST_S, _TRANSFER_PER_LATENCY * delay_s)
    if max(sizes) < _PAYLOAD_LEAST_BYTES or max(busy_s, seconds - delay_s) < least_s:
        return beliefs
    return beliefs.with_link_ratio(pair, seconds / (busy_s + delay_s))


def _delay_s(link: LinkBelief) -> float:
    """The latency to take off: one in doubt as last probed, lest it pass for a slower rate."""
    return link.latency.last if link.latency.suspicious else link.latency.value


def _learn_rate(
    beliefs: Beliefs, pair: Pair, measured: tuple[int, float, float], at_s: float
) -> Beliefs:
    """measured: bytes, seconds that they took, seconds of latency taken off before."""
    size_bytes, seconds, delay_s = measured
    if size_bytes < _PAYLOAD_LEAST_BYTES:
        return beliefs
    rate = beliefs.links[pair].rate
    least_s = max(_TRANSFER_LEAST_S, _TRANSFER_PER_LATENCY * delay_s)
    observed = size_bytes / max(seconds, least_s)
    if seconds < least_s:
        observed = max(observed, rate.value)  # at least so fast; no evidence against faster
    expected_s = size_bytes / rate.value
    is_sure = seconds > max(expected_s + _SURE_S, _SURE_FACTOR * expected_s)
    now = rate.replaced(observed) if is_sure else rate.updated(observed)
    return beliefs.with_rate(pair, now, at_s)
