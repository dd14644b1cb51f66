"""`edgesplit status`: what runs on a cluster, as aligned text or JSON."""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgesplit.core.printable import duration

if TYPE_CHECKING:
    from edgesplit.cluster.actors.workload import WorkloadStatus
    from edgesplit.cluster.session.status import (
        ActorStatus,
        ClusterStatus,
        NodeStatus,
        SessionStatus,
    )
    from edgesplit.core.power import Power

_LIMIT_S = 45.0
_NONE_RUNS = (
    "no session runs; `edgesplit run MODEL IMAGE` on a node starts one, or "
    "EdgeSplit(model).infer(x) in Python"
)
_STATES = {"alive": "alive", "silent": "no answer", "lost": "lost"}
_RIGHT = ("cpus", "object store", "slowdown", "latency", "rate")  # columns of figures


@click.command(short_help="Show what runs on a cluster.")
@click.option(
    "--address",
    help="The Ray cluster, host:port. Without it: RAY_ADDRESS, or this host's cluster.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (SI units) instead of text.")
def status(address: str | None, as_json: bool) -> None:
    """Show what runs on a cluster: nodes, tiers, sessions, plans, links and energy.

    Run it on a node of the cluster. Links and slowdowns are those that each session believes now.

    \b
    Example: edgesplit status
             ray exec cluster.yaml '. /etc/edgesplit/node.env && "$ES_BIN/edgesplit" status'
    """
    from edgesplit.cluster.session.status import cluster_status

    with at_most(_LIMIT_S):
        found = cluster_status(address)
    click.echo(json.dumps(_plain(found), indent=1) if as_json else "\n".join(_lines(found)))


@contextlib.contextmanager
def at_most(limit_s: float) -> Iterator[None]:
    """End this process with a message and exit code 1 if the block takes longer.

    Ray's own calls to a head that stands still have no time limit and cannot be interrupted.
    """
    timer = threading.Timer(limit_s, _give_up, [limit_s])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up(limit_s: float) -> None:
    click.echo(
        f"edgesplit: the cluster did not answer within {limit_s:g} s: its head stands still, or "
        "no node of it runs on this machine",
        err=True,
    )
    sys.stderr.flush()
    os._exit(1)


def _plain(found: "ClusterStatus") -> dict[str, Any]:
    """The whole status for JSON."""
    return {
        "address": found.address,
        "ray_version": found.ray_version,
        "missing_tiers": list(found.missing_tiers),
        "nodes": [asdict(node) for node in found.nodes],
        "sessions": [
            {
                "id": session.id,
                "scheduler": session.scheduler,
                "actors": [asdict(actor) for actor in session.actors],
                "workloads": [_plain_workload(workload) for workload in session.workloads],
            }
            for session in found.sessions
        ],
    }


def _plain_workload(workload: "WorkloadStatus") -> dict[str, Any]:
    active = workload.activation
    return {
        "id": workload.id,
        "graph": workload.graph,
        "policy": workload.policy or None,
        "plan": str(active.plan) if active else None,
        "version": active.version if active else 0,
        "reason": active.reason if active else None,
        "active_s": workload.active_s,
        "lost_tiers": list(workload.lost),
        "tiers": [
            {
                "tier": tier.name,
                "slowdown": tier.slowdown,
                "source": tier.provenance,
                "power": _keyed(asdict(tier.power), "source"),
                "runtimes": list(tier.runtimes),
                "unused": dict(tier.unused),
            }
            for tier in workload.profile.tiers
        ],
        "links": [_keyed(asdict(link), "origin") for link in workload.profile.links],
    }


def _keyed(values: dict[str, Any], key: str) -> dict[str, Any]:
    """With the provenance under the key that readers of the JSON know."""
    return {key if name == "provenance" else name: value for name, value in values.items()}


def _lines(found: "ClusterStatus") -> Iterator[str]:
    """The whole status."""
    yield f"Ray {found.ray_version} at {found.address}"
    yield from _table(
        ("tier", "address", "host", "cpus", "object store", "state"),
        [_node_row(node) for node in found.nodes],
    )
    for tier in found.missing_tiers:
        yield (
            f"missing: no node plays tier {tier}; start it on its machine with "
            f"`ray start --address={found.address} --labels=tier={tier}`"
        )
    for session in found.sessions:
        yield ""
        yield from _session_lines(session)
    if not found.sessions:
        yield _NONE_RUNS


def _node_row(node: "NodeStatus") -> tuple[str, ...]:
    tier = "all, embedded" if node.plays_all else node.tier or "no tier"
    if node.name not in (None, node.tier):
        tier = f"{node.name} ({tier})"
    if not node.is_alive:
        why = f": {node.death_reason}" if node.death_reason else ""
        return (tier, node.address, node.host, "-", "-", f"lost{why}")
    store = f"{node.object_store_bytes / 1e6:.0f} MB"
    state = "alive, head" if node.is_head else "alive"
    return (tier, node.address, node.host, f"{node.cpus:g}", store, state)


def _session_lines(session: "SessionStatus") -> Iterator[str]:
    yield f"session {session.id}, scheduler: {_STATES[session.scheduler]}"
    yield from _table(
        ("tier", "actor", "on node", "takes payloads at", "energy"),
        [_actor_row(actor) for actor in session.actors],
    )
    for workload in session.workloads:
        yield from _workload_lines(workload)
    if session.scheduler != "alive":
        yield "its plan is not known; requests go on with the last one"
    elif not session.workloads:
        yield "nothing planned yet: the first input is still to come, or being profiled"


def _actor_row(actor: "ActorStatus") -> tuple[str, ...]:
    known = (actor.node, actor.data_address, actor.energy)
    return (actor.tier, _STATES[actor.state], *(value or "-" for value in known))


def _workload_lines(workload: "WorkloadStatus") -> Iterator[str]:
    active = workload.activation
    if active is None:
        yield f"{workload.graph}: the first plan is being prepared"
    else:
        yield f"{workload.graph}: {active.plan}"
        policy = workload.policy or "a function of the user's"
        yield (
            f"  plan {active.version} by policy {policy}, in force for "
            f"{duration(workload.active_s)}: {active.reason}"
        )
    if workload.lost:
        yield f"  not planned with: {', '.join(workload.lost)}"
    for tier in workload.profile.tiers:
        for runtime, why in tier.unused:
            yield f"  {tier.name} does not use {runtime}: {why}"
    tiers = [
        (
            tier.name,
            f"{tier.slowdown:.2f}",
            tier.provenance,
            _watts(tier.power),
            tier.power.provenance,
        )
        for tier in workload.profile.tiers
    ]
    links = [
        (
            f"{link.source} -> {link.target}",
            f"{link.latency_s * 1e3:.2f} ms",
            f"{link.bytes_per_s / 1e6:.2f} MB/s",
            link.provenance,
        )
        for link in workload.profile.links
    ]
    yield from _indented(_table(("tier", "slowdown", "layer times", "plans with", "from"), tiers))
    yield from _indented(_table(("link", "latency", "rate", "origin"), links))


def _watts(power: "Power") -> str:
    return (
        f"compute {power.compute_w:g} W, transmit {power.transmit_w:g} W, "
        f"receive {power.receive_w:g} W, wait {power.wait_w:g} W"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned columns; figures to the right. Nothing where there are no rows."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        cells = [
            f"{cell:>{width}}" if name in _RIGHT else f"{cell:{width}}"
            for name, cell, width in zip(head, row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)
