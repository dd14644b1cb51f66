"""What tests look at inside a session: the one module here that knows its private names."""

from dataclasses import replace
from types import SimpleNamespace

import ray

from edgesplit.node.process.imports import Imports


def session_of(split):
    """Its control plane."""
    return split._parts.session


def actor_of(split, tier):
    """The actor that plays the tier now, for whichever sessions."""
    return _actors(split).call_log.actors[tier].actor


def handle_of(split, tier):
    """The same as the session calls it."""
    return _actors(split).call_log.actors[tier]


def give_so(split, tier, give_part):
    """Have that function give parts of weights on a tier."""

    session_of(split).ready()
    session_id = session_id_of(split)

    def change(actor):
        actor._sessions._sessions[session_id].give_part = give_part

    ray.get(actor_of(split, tier).__ray_call__.remote(change), timeout=60)


def scheduler_of(split):
    """The cluster's scheduler, an actor."""
    return _actors(split).scheduler.actor


def credentials_of(split):
    """What its connections have to show."""
    return split._parts.session.credentials


def session_id_of(split):
    """As its actors know it."""
    return split._parts.session._settings.session_id


def workload_of(split):
    """The one of the signature used last."""
    return split._parts.workloads.latest


def count_workloads(split):
    """How many signatures it knows."""
    return len(split._parts.workloads._known)


def loop_state(split):
    """The control loop's state of the workload used last, and how many events it has kept."""
    workload, session_id = workload_of(split).id, session_id_of(split)

    def look(actor):
        loop = actor._sessions[session_id].loops.known(workload)
        return loop.state, loop.recording.count

    return ray.get(scheduler_of(split).__ray_call__.remote(look), timeout=30)


def pretend_apart(split):
    """Let the scheduler hold each tier's machine for another one, whose load is its own."""
    tiers = split._parts.session.tiers.handles
    apart = {tier: replace(handle, host=tier) for tier, handle in tiers.items()}
    ray.get(_actors(split).scheduler.set_tiers.remote(apart, Imports()), timeout=30)


def pretend_open(split, credentials, arguments, workload):
    """Let it infer `arguments` as that workload, without a cluster; see pretend_closed()."""
    session, now = split._parts.session, SimpleNamespace(threads=lambda tier: 1)
    session._settings = replace(session._settings, credentials=credentials)
    session._membership._now = SimpleNamespace(placement=now)
    split._parts.workloads._known[arguments.key] = workload
    split._is_open = True


def pretend_closed(split):
    """Nothing of a cluster is left to be ended."""
    split._parts.session._membership._now = None


def _actors(split):
    return split._parts.session._membership.now


def held_here(split):
    """How much the caller's process holds of each kind that comes with an input size."""
    parts = split._parts
    workloads, threads, session = parts.workloads, parts.threads, parts.session
    return {
        "signatures": len(workloads._known),
        "workloads": len(workloads._by_forms),
        "exports": len(workloads._exports._made),
        "loaded programs": len(workloads._loaded),
        "watched plans": len(threads.watch._watched),
        "runtimes heard of": len(threads.verdicts._found),
        "runtimes measured": len(threads.benchmark._all),
        "planned workloads": len(session.planning._workloads),
        "sent programs": len(session._programs._known),
    }


def held_on_tiers(split):
    """The same of the tier that holds most of each kind, and of the scheduler."""

    def look(actor):
        import gc

        from edgesplit.node.program.program import Program

        session = actor._sessions._sessions[session_id]
        shared = actor._sessions._shared
        gc.collect()
        frozen = gc.get_freeze_count()
        gc.unfreeze()  # or what load() has frozen would not be among the objects
        programs = sum(isinstance(one, Program) for one in gc.get_objects())
        if frozen:
            gc.freeze()
        return {
            "workloads": len(session._held.workloads),
            "workloads of the worker": len(session._server.worker.programs),
            "workloads of the host": len(shared._workloads),
            "programs": len(shared._loaded),
            "program objects": programs,
        }

    def loops(actor):
        from ray.experimental.internal_kv import _internal_kv_list

        kept = _internal_kv_list(f"{session_id}/".encode(), namespace=b"edgesplit")
        return {"loops": len(actor._sessions[session_id].loops.ids), "checkpoints": len(kept)}

    now, session_id = _actors(split), session_id_of(split)
    tiers = [actor_of(split, tier).__ray_call__.remote(look) for tier in now.call_log.actors]
    seen = ray.get(tiers, timeout=60)
    of_scheduler = ray.get(scheduler_of(split).__ray_call__.remote(loops), timeout=60)
    return {kind: max(one[kind] for one in seen) for kind in seen[0]} | of_scheduler
