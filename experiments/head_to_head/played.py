"""The form on a scene: six published policies and EdgeSplit take turns over a link that changes.

    python -m experiments.head_to_head.played --out DIR [--scene testbed] [--quick]

Then the same requests are replayed from the profile that was measured there, each tier as quick as
it was while they were played: is the order of the policies the same, and are their scores within
10 %?
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgesplit import Config, Goal
from edgesplit.caller.inputs.zoo import check_names
from edgesplit.core.cost import CostModel
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import TORCH
from edgesplit.core.plain_data import plain_form
from edgesplit.core.policies.published import PUBLISHED
from edgesplit.core.profile import Profile
from experiments.head_to_head.condition import FIRST_S
from experiments.head_to_head.control_loop import ControlLoop
from experiments.head_to_head.each_request import EachRequest, ToldBefore
from experiments.head_to_head.intervals import drawn_means, interval
from experiments.head_to_head.replayed import GOALS
from experiments.head_to_head.rows import OURS
from experiments.head_to_head.served import Floats, Served
from experiments.head_to_head.simulation import Driver, Simulation
from experiments.head_to_head.turns import LEAST_BYTES_PER_S, Sent, opened, played
from experiments.head_to_head.world import World, drawn_noise
from experiments.shared.options import scene_options
from experiments.shared.picture import grouped_bars
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import Row, print_rows, progress, write_csv, write_json, write_rows
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene, scene_named
from experiments.shared.trace import Trace
from experiments.shared.trace_class import TRACE_NAMES, trace_named

POLICIES = ("neurosurgeon-style", "dads", "scission", "dynasplit", "ans", "loadpart-style")
WITHIN = 0.1
_BLOCK = 5  # slots
_LONGEST_S = 3600


@click.command()
@scene_options
@click.option("--model", help="Of torchvision. [default: mobilenet_v2, quick alexnet]")
@click.option("--trace", default="subway", show_default=True, help=f"{', '.join(TRACE_NAMES)}.")
@click.option("--goal", type=click.Choice(tuple(GOALS)), default="default", show_default=True)
@click.option("--slots", type=click.IntRange(2), help="Requests per policy. [default: 60, quick 6]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--quick", is_flag=True, help="Few slots, AlexNet: to try it out.")
@plain_errors
def main(out: Path, fresh: bool, scene: str, address: str | None, **given: Any) -> None:
    """Play policies in turns, and replay what was played; write played.csv and played.png.

    Can be continued by the same command once the requests were played.
    """
    model = given["model"] or ("alexnet" if given["quick"] else "mobilenet_v2")
    slots = given["slots"] or (6 if given["quick"] else 60)
    check_names([model])
    names = ("trace", "goal", "seed")
    settings = {"experiment": "head_to_head.played", "scene": scene, "model": model, "slots": slots}
    settings |= {name: given[name] for name in names}
    journal = Journal(out, settings).open(fresh)
    goal, trace = GOALS[given["goal"]], trace_named(given["trace"], _LONGEST_S, given["seed"])
    trace = replace(trace, bytes_per_s=tuple(max(LEAST_BYTES_PER_S, b) for b in trace.bytes_per_s))
    with scene_named(scene, address) as place:
        if not journal.has(kind="played"):
            with progress("slots", slots) as advance:
                _play(place, (model, goal, trace, slots), journal, advance)
    entry = next(journal.find(kind="played"))
    _write(out, entry, (goal, trace), settings)


def _play(
    place: Scene, wanted: tuple[str, Goal, Trace, int], journal: Journal, advance: Any
) -> None:
    model, goal, trace, slots = wanted
    with opened(place, model, goal) as sessions:
        graph, profile = sessions.named.graph, sessions.named.profile
        world = _world(graph, profile, trace)
        sent = played(place, sessions, (world, goal), POLICIES, slots, advance)
    journal.append(
        {
            "kind": "played",
            "graph": plain_form(Graph).encode(graph),
            "profile": plain_form(Profile).encode(profile),
            "sent": [asdict(one) for one in sent],
            "provenance": place.provenance,
        }
    )


def _world(graph: Graph, profile: Profile, trace: Trace) -> World:
    """As measured, the entry tier's links on the trace."""
    rate = float(trace.sent_bytes(trace.length_s)) / trace.length_s
    links = tuple(
        replace(ln, bytes_per_s=rate) if profile.entry_tier in ln.pair else ln
        for ln in profile.links
    )
    return World(graph, replace(profile, links=links), trace)


def _write(out: Path, entry: Row, course: tuple[Goal, Trace], settings: Row) -> None:
    goal, trace = course
    graph = plain_form(Graph).decode(entry["graph"])
    profile = plain_form(Profile).decode(entry["profile"])
    sent = [Sent(**one) for one in entry["sent"]]
    whole = whole_slots(sent)
    told_world = _world(graph, profile, later(trace))
    slowdowns = slowdowns_of(sent, profile)
    world = replace(told_world, profile=slowed(told_world.profile, slowdowns))
    cost = CostModel(graph, told_world.profile, goal)
    rows = compared(whole, (world, told_world), cost, settings["seed"])
    told = {**settings, "provenance": entry["provenance"], "trace_from": trace.provenance}
    told["slowdowns_while_played"] = slowdowns
    told |= {"slots_left_out": settings["slots"] - len(whole[OURS]), **verdicts(rows)}
    write_rows(out, "played", rows, told)
    columns = [name.name for name in fields(Sent) if name.name != "computed"]
    write_csv(out / "requests.csv", [{c: getattr(one, c) for c in columns} for one in sent])
    write_json(out / "table.json", {"graph": entry["graph"], "profile": entry["profile"]})
    names = f"played ({settings['scene']}): measured", "replayed: simulated"
    forms = dict(zip(names, ("played", "replayed"), strict=True))
    scores = {name: [row[f"{form}_score"] for row in rows] for name, form in forms.items()}
    grouped_bars(
        out / "played.png",
        [row["policy"].removesuffix("-style") for row in rows],
        scores,
        f"score ({settings['model']}, {trace.name})",
        {names[0]: [(row["low"], row["high"]) for row in rows]},
    )
    print_rows(rows, "Played and replayed")
    click.echo(f"{told['provenance']}\n{verdicts(rows)}")


def slowdowns_of(sent: Sequence[Sent], profile: Profile) -> dict[str, float]:
    """By tier, its seconds of layers over those of its calibration; of tiers that computed any."""
    took, expected = dict[str, float](), dict[str, float]()
    for tier, start, stop, seconds in (stage for one in sent for stage in one.computed):
        took[tier] = took.get(tier, 0.0) + seconds
        layer_s = profile.tier(tier).layer_s_in(TORCH)[start:stop]
        expected[tier] = expected.get(tier, 0.0) + sum(layer_s)
    return {tier: seconds / expected[tier] for tier, seconds in took.items() if expected[tier] > 0}


def slowed(profile: Profile, slowdowns: Mapping[str, float]) -> Profile:
    """The profile with each tier's slowdown as it was met."""
    for name, slowdown in slowdowns.items():
        profile = profile.with_tier(replace(profile.tier(name), slowdown=slowdown))
    return profile


def whole_slots(sent: Sequence[Sent]) -> dict[str, list[Sent]]:
    """By policy the requests of the slots in which all came back."""
    failed = {one.slot for one in sent if one.error or not np.isfinite(one.total_j)}
    names = dict.fromkeys((OURS, *(one.policy for one in sent)))
    return {name: [o for o in sent if o.policy == name and o.slot not in failed] for name in names}


def compared(
    whole: dict[str, list[Sent]], worlds: tuple[World, World], cost: CostModel, seed: int
) -> list[Row]:
    """A row per policy, the best as played first: mean scores of requests in both forms.

    worlds: as it was met, and as policies were told it was. What EdgeSplit's probes take is in no
    record of a request, so it is apart in the replay too.
    """
    generator = np.random.default_rng(seed)
    served = {name: _served(requests) for name, requests in whole.items()}
    scores = np.array([one.scores(cost) for one in served.values()])
    draws = dict(zip(served, drawn_means(scores, _BLOCK, generator).T, strict=True))
    rows = []
    for name, one in served.items():
        at_s: Floats = np.array([request.begun_s for request in whole[name]])
        again = replayed(name, worlds, cost.goal, at_s, seed)
        probes = again.besides_score(cost)
        mean, other = float(one.scores(cost).mean()), float(again.scores(cost).mean()) - probes
        low_high = interval(draws[name])
        rows.append(
            {
                "policy": name,
                "played_score": mean,
                "low": low_high.low,
                "high": low_high.high,
                "replayed_score": other,
                "replayed_over_played": other / mean - 1,
                "replayed_probes": probes,
                "played_s": float(one.latency_s.mean()),
                "replayed_s": float(again.latency_s.mean()),
                "played_end_j": float(one.end_j.mean()),
                "replayed_end_j": float(again.end_j.mean()) - again.besides[0],
                "hedged": int(one.hedged.sum()),
                "failed_over": int(one.failed_over.sum()),
            }
        )
    return sorted(rows, key=lambda row: row["played_score"])


def _served(requests: Sequence[Sent]) -> Served:
    return Served(
        np.array([one.latency_s for one in requests]),
        np.array([one.end_j for one in requests]),
        np.array([one.total_j for one in requests]),
        np.array([one.waited_s for one in requests]),
        [one.plan for one in requests],
        np.array([one.hedged for one in requests]),
        np.array([one.failed_over for one in requests]),
    )


def replayed(name: str, worlds: tuple[World, World], goal: Goal, at_s: Floats, seed: int) -> Served:
    """What becomes of requests of that policy, simulated. at_s: since the trace begins."""
    driver: Driver
    world, told = worlds
    if name == OURS:
        driver = ControlLoop(Config().hedge, begins_with=told.profile)
    else:
        driver = EachRequest(PUBLISHED[name].policy, ToldBefore(told), goal)
    noise = drawn_noise(world, len(at_s), np.random.default_rng(seed))
    return Simulation(world, goal, noise, driver).run(at_s + FIRST_S)


def later(trace: Trace) -> Trace:
    """The trace as it is when requests begin FIRST_S later, once the first plan is ready."""
    starts_s = (0.0, *(at_s + FIRST_S for at_s in trace.starts_s[1:]))
    return replace(trace, starts_s=starts_s, length_s=trace.length_s + FIRST_S)


def verdicts(rows: Sequence[Row]) -> Row:
    """Whether both forms agree. pairs: whose intervals do not overlap."""
    apart = [abs(row["replayed_over_played"]) for row in rows]
    told = [(a, b) for a, b in combinations(rows, 2) if a["high"] < b["low"]]
    agree = [a["replayed_score"] <= b["replayed_score"] for a, b in told]
    return {
        "within_10_percent": sum(one <= WITHIN for one in apart),
        "policies": len(rows),
        "pairs_apart_beyond_noise": len(told),
        "of_these_in_the_same_order": sum(agree),
        "best_played": rows[0]["policy"],
        "best_replayed": min(rows, key=lambda row: row["replayed_score"])["policy"],
    }


if __name__ == "__main__":
    main()
