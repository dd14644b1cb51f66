"""Records: what one request took and cost, from the samples that came back with its reply."""

from dataclasses import dataclass

from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.core.sample import Sample, Transfer, transfers


@dataclass(frozen=True)
class Record:
    """One request. at_s: when it was sent, since the session began. Energy per the boundary.

    compute_s, link_s: sums over the route; samples has them per tier.
    """

    id: str
    at_s: float
    model: str
    plan: Plan
    latency_s: float
    compute_s: float
    link_s: float
    end_energy_j: float
    total_energy_j: float
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Finished:
    """What the caller knows of a request that came back."""

    id: str
    at_s: float
    model: str
    plan: Plan
    latency_s: float
    samples: tuple[Sample, ...]


def record_of(done: Finished, profile: Profile, goal: Goal) -> Record:
    """The record of a request under the tiers' power in `profile` and the goal's boundary.

    Compute energy is what each tier's meter counted; a link's two ends are charged transmit and
    receive watts for the time the payload and the reply were on it, and its delay nothing.
    """
    energy_j = dict.fromkeys(profile.names, 0.0)
    active_s = dict.fromkeys(profile.names, 0.0)
    for sample in done.samples:
        energy_j[sample.tier] += sample.energy_j
        active_s[sample.tier] += sample.compute_s
    seen = transfers(done.samples)
    for transfer in seen:
        out_s, reply_s = _on_the_link_s(profile, transfer)
        u, v = profile.tier(transfer.source), profile.tier(transfer.target)
        energy_j[u.name] += u.power.transmit_w * out_s + u.power.receive_w * reply_s
        energy_j[v.name] += v.power.receive_w * out_s + v.power.transmit_w * reply_s
        active_s[u.name] += out_s + reply_s
        active_s[v.name] += out_s + reply_s
    if goal.boundary == "gross":
        for tier in profile.tiers:
            waiting_s = max(0.0, done.latency_s - active_s[tier.name])
            energy_j[tier.name] += tier.power.wait_w * waiting_s
    return Record(
        done.id,
        done.at_s,
        done.model,
        done.plan,
        done.latency_s,
        sum(sample.compute_s for sample in done.samples),
        sum(transfer.seconds for transfer in seen),
        energy_j[profile.source],
        sum(energy_j.values()),
        done.samples,
    )


def _on_the_link_s(profile: Profile, transfer: Transfer) -> tuple[float, float]:
    """Seconds the payload and the reply were on the link, delays taken off.

    The measured time is one sum; it is shared out as the link's rates would.
    """
    out = profile.link(transfer.source, transfer.target)
    back = profile.link(transfer.target, transfer.source)
    if out is None or back is None:
        return 0.0, 0.0
    busy_s = max(0.0, transfer.seconds - out.latency_s - back.latency_s)
    busy_s = min(busy_s, transfer.gap_s)  # what queued behind another payload was not on the link
    sent, reply = transfer.sent_bytes / out.bytes_per_s, transfer.reply_bytes / back.bytes_per_s
    whole = sent + reply
    return (busy_s * sent / whole, busy_s * reply / whole) if whole > 0 else (0.0, 0.0)
