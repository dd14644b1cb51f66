"""What the fleet on the testbed does, turn by turn, and the figures of it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from experiments.fleet.bed import together
from experiments.fleet.remote import RemoteDevice
from experiments.fleet.sending import jain

STATIC, SELFISH, PRICES = "static", "each for itself", "prices"
APPROACHES = (STATIC, SELFISH, PRICES)
ALONE, FLOODED, ALIKE = "alone", "beside a flood", "all flood"
OVERLOAD = 1.3  # of the favourite edge's time, that all devices' requests together would take there
LESS, MOST_RISE, LEAST_JAIN = 0.30, 0.20, 0.95
_STEADY_SHARE = 0.25  # of the edge's time, of a session beside a flood: half is its due
_MARGIN_S = 60.0  # for what is under way at a turn's end
_GOAL = Goal()
Row = dict[str, Any]


@dataclass(frozen=True)
class Length:
    """How long things last, in seconds. settle_s: of each turn, not counted."""

    rounds: int
    settle_s: float
    seconds: float
    flood_rounds: int
    flood_s: float

    @property
    def turns(self) -> int:
        """All turns, of approaches and of floods."""
        return self.rounds * len(APPROACHES) + 2 * self.flood_rounds + 1


FULL, QUICK = Length(2, 12.0, 15.0, 2, 12.0), Length(1, 10.0, 12.0, 1, 10.0)
_FLOOD_SETTLE_S = 3.0


@dataclass(frozen=True)
class FleetTurns:
    """requests: of the approaches. floods: of the sessions that flood or are flooded."""

    edge: str
    rates_per_s: tuple[float, ...]
    requests: list[Row]
    floods: list[Row]
    switches: list[Row]


def favourite(found: Sequence[Mapping[str, Any]]) -> str:
    """The edge that computes most layers in the devices' plans; the fastest where none has any."""
    edges: list[str] = [tier for tier in found[0]["whole_s"] if tier.startswith("edge")]
    share = dict.fromkeys(edges, 0.0)
    for one in found:
        for stage in parse_plan(one["best"]).stages:
            if stage.tier in share:
                share[stage.tier] += len(stage) / one["layers"]
    if any(share.values()):
        return max(edges, key=lambda edge: share[edge])
    return min(edges, key=lambda edge: float(sum(one["whole_s"][edge] for one in found)))


def play(
    devices: Sequence[RemoteDevice],
    found: Sequence[Mapping[str, Any]],
    length: Length,
    load: float,
    step: Callable[[], None],
) -> FleetTurns:
    """All turns. load: the weight of prices. step: called after each turn."""
    edge = favourite(found)
    rates = tuple(OVERLOAD / (len(devices) * one["whole_s"][edge]) for one in found)
    played = FleetTurns(edge, rates, [], [], [])
    for number in range(length.rounds):
        first = number % len(APPROACHES)
        for approach in (*APPROACHES[first:], *APPROACHES[:first]):
            _turn(devices, found, length, (approach, number, load), played)
            step()
    for number in range(length.flood_rounds):
        for state in (ALONE, FLOODED):
            _flood(devices[:2], found, length.flood_s, (state, number), played)
            step()
    _flood(devices, found, length.flood_s, (ALIKE, 0), played)
    step()
    return played


def _turn(
    devices: Sequence[RemoteDevice],
    found: Sequence[Mapping[str, Any]],
    length: Length,
    turn: tuple[str, int, float],
    played: FleetTurns,
) -> None:
    approach, number, load = turn
    asked = [
        {
            "do": "send",
            "rate_per_s": played.rates_per_s[k],
            "seed": 100 * number + k,  # the same requests for every approach
            "plan": found[k]["best"] if approach == STATIC else None,
            "load": load if approach == PRICES else 0.0,
        }
        for k in range(len(devices))
    ]
    answers = together(devices, asked, length.settle_s + length.seconds, _MARGIN_S)
    for k, answer in enumerate(answers):
        whose = {"approach": approach, "round": number, "device": devices[k].host}
        reference = found[k]["reference"]
        played.requests.extend(
            whose | {"model": devices[k].model, "score": score(row, reference)} | row
            for row in answer["requests"]
            if row["due_s"] >= length.settle_s
        )
        played.switches.extend(whose | switch for switch in answer["switches"])


def _flood(
    devices: Sequence[RemoteDevice],
    found: Sequence[Mapping[str, Any]],
    seconds: float,
    turn: tuple[str, int],
    played: FleetTurns,
) -> None:
    """The first device sends evenly and the second floods or rests; or all flood."""
    state, number = turn
    here = devices[:1] if state == ALONE else devices
    asked: list[dict[str, Any]] = []
    for k, device in enumerate(here):
        plan = f"{device.host}:0-0 | {played.edge}:0-{found[k]['layers']}"
        rate_per_s = _STEADY_SHARE / found[k]["whole_s"][played.edge]
        steady = {"do": "send", "rate_per_s": rate_per_s, "seed": None, "load": 0.0}
        is_steady = k == 0 and state != ALIKE
        asked.append((steady if is_steady else {"do": "flood"}) | {"plan": plan})
    whole_s = _FLOOD_SETTLE_S + seconds
    for device, answer in zip(here, together(here, asked, whole_s, _MARGIN_S), strict=True):
        played.floods.extend(
            {"state": state, "round": number, "device": device.host, "model": device.model} | row
            for row in answer["requests"]
            if _FLOOD_SETTLE_S <= row["done_s"] < whole_s
        )


def score(row: Mapping[str, Any], reference: Mapping[str, float]) -> float:
    """S of a request, without prices; of one that failed as if its device had then computed it."""
    joules = reference if row["error"] else row
    return float(
        _GOAL.end_energy * joules["end_energy_j"] / reference["end_energy_j"]
        + _GOAL.total_energy * joules["total_energy_j"] / reference["total_energy_j"]
        + _GOAL.latency * row["latency_s"] / reference["latency_s"]
    )


def sides(rows: Sequence[Row]) -> list[Row]:
    """A row per approach; latencies since a request was due."""
    found = []
    for approach in APPROACHES:
        mine = [row for row in rows if row["approach"] == approach]
        latency_s = [row["latency_s"] for row in mine]
        found.append(
            {
                "approach": approach,
                "requests": len(mine),
                "failed": sum(bool(row["error"]) for row in mine),
                "mean_score": float(np.mean([row["score"] for row in mine])),
                "median_s": float(np.median(latency_s)),
                "p99_s": float(np.quantile(latency_s, 0.99)),
                "computed": shares_of(mine),
                "plans": plans_of(mine),
            }
        )
    return found


def shares_of(rows: Sequence[Row]) -> dict[str, float]:
    """Computed seconds by tier; that of each device, `end-1` and so on, is one: `end`."""
    sums: Counter[str] = Counter()
    for row in rows:
        for tier, seconds in row["compute_s"].items():
            sums["end" if tier.startswith("end") else tier] += seconds
    return dict(sorted(sums.items()))


def plans_of(rows: Sequence[Row]) -> dict[str, int]:
    """How many requests took each plan, most first."""
    return dict(Counter(row["plan"] for row in rows if row["plan"]).most_common())


def floods_of(rows: Sequence[Row]) -> Row:
    """The steady session's p99 alone and beside a flood, and how evenly three floods share."""
    steady = rows[0]["device"]
    p99_s = {
        state: float(np.quantile(_latencies(rows, state, steady), 0.99))
        for state in (ALONE, FLOODED)
    }
    shares: Counter[str] = Counter()
    for row in rows:
        if row["state"] == ALIKE:
            shares[row["device"]] += sum(
                seconds for tier, seconds in row["compute_s"].items() if tier != row["device"]
            )
    return {
        "p99_alone_s": p99_s[ALONE],
        "p99_flooded_s": p99_s[FLOODED],
        "median_alone_s": float(np.median(_latencies(rows, ALONE, steady))),
        "median_flooded_s": float(np.median(_latencies(rows, FLOODED, steady))),
        "rise": p99_s[FLOODED] / p99_s[ALONE] - 1,
        "computed_s": dict(shares),
        "jain": jain(list(shares.values())),
    }


def _latencies(rows: Sequence[Row], state: str, device: str) -> list[float]:
    return [r["latency_s"] for r in rows if r["state"] == state and r["device"] == device]


def verdicts(approaches: Sequence[Row], floods: Row) -> Iterator[tuple[str, bool]]:
    """What was to be reached, in words with the figures, and whether it was."""
    by_name = {row["approach"]: row for row in approaches}
    prices = by_name[PRICES]
    for other in (SELFISH, STATIC):
        less = [1 - prices[key] / by_name[other][key] for key in ("mean_score", "p99_s")]
        yield (
            f"prices beside {other}: mean score {less[0]:+.0%} less, p99 {less[1]:+.0%} less; "
            f"to reach: {LESS:.0%} of either",
            max(less) >= LESS,
        )
    jain_index, rise = floods["jain"], floods["rise"]
    yield (
        f"three floods: Jain's index {jain_index:.3f}; to reach {LEAST_JAIN:g}",
        jain_index >= LEAST_JAIN,
    )
    yield (
        f"p99 beside a flood: {rise:+.0%}; at most {MOST_RISE:.0%}",
        rise <= MOST_RISE,
    )
