"""A session's calls to the scheduler, and those that a new scheduler has to get again."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgesplit.cluster.actors.recording import Recorded
from edgesplit.cluster.actors.workload import Activation, TierHandle, TierKnown, Workload
from edgesplit.cluster.measure.runtimes import Offered, with_offer
from edgesplit.cluster.ray.answers import CONTROL_TIMEOUT_S
from edgesplit.cluster.session.membership import ClusterMembership
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.control.standing import Standing
from edgesplit.core.goal import Goal
from edgesplit.core.payload_codec import CodecSizes, CodecSpeeds
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import ClusterError
from edgesplit.node.process.imports import Imports
from edgesplit.node.transport.wire import TransferProgress


class Planning:
    """The scheduler's side of one session. Every method may raise ClusterError.

    tiers: how to reach each, empty until all have been met; the session keeps it up to date.
    """

    def __init__(self, membership: ClusterMembership, tiers: Mapping[str, TierHandle]) -> None:
        self._membership, self._tiers = membership, tiers
        self._imports = Imports()
        self._workloads: dict[str, Workload] = {}
        self._changing = threading.Lock()  # held while what is known of workloads changes
        self._versions: dict[str, int] = {}  # of the plans that the caller has

    def set_tiers(self, tiers: Mapping[str, TierHandle], imports: Imports) -> str:
        """Begin the session in the scheduler; returns what incarnation of it that is.

        imports: where a policy of the user's is found.
        """
        self._imports = imports
        with self._membership.attached() as now:
            call = now.scheduler.set_tiers.remote(tiers, imports)
            return str(self._membership.answer(call, "the scheduler to start"))

    # Workloads

    def begin(self, workload: Workload) -> Activation:
        """Hand a workload to the scheduler; returns its first active plan."""
        with self._changing:
            self._workloads[workload.id] = workload
        with self._membership.attached() as now:
            self._membership.answer(now.scheduler.begin.remote(workload), "the scheduler to plan")
            activation = self._membership.answer(
                now.scheduler.activation.remote(workload.id, 0, CONTROL_TIMEOUT_S),
                "the first plan to be ready",
                2 * CONTROL_TIMEOUT_S,
            )
        if activation is None:
            raise ClusterError(
                f"no plan was ready within {CONTROL_TIMEOUT_S:g} s; a tier cannot build its "
                "segment: see Ray's logs of the segment actors"
            )
        return activation  # type: ignore[no-any-return]

    def add_tier(self, name: str, handle: TierHandle, known: Mapping[str, TierKnown]) -> None:
        """Let plans use a tier that has joined: what is known of it by workload, with its links."""
        with self._changing:  # a scheduler that begins anew is to know too
            known = {one: told for one, told in known.items() if one in self._workloads}
            for workload_id, (tier, links) in known.items():
                workload = self._workloads[workload_id]
                profile = workload.profile.with_added(tier, links)
                self._workloads[workload_id] = replace(workload, profile=profile)
        with self._membership.attached() as now:
            call = now.scheduler.add_tier.remote(name, handle, known)
            self._membership.answer(call, "the scheduler to take another tier")

    def forget(self, workload_id: str) -> None:
        """Choose no more plans for a workload; does not wait."""
        with self._changing:
            self._workloads.pop(workload_id, None)
            self._versions.pop(workload_id, None)
        with self._membership.attached() as now:
            now.scheduler.end_workload.remote(workload_id)

    def current_profile(self, workload_id: str) -> Profile:
        """The scheduler's beliefs about tiers and links now."""
        with self._membership.attached() as now:
            call = now.scheduler.profile.remote(workload_id)
            return self._membership.answer(call, "the scheduler")  # type: ignore[no-any-return]

    def known_profile(self, workload_id: str) -> Profile:
        """The profile that a restarted scheduler would get."""
        return self._workloads[workload_id].profile

    def standing(self, workload_id: str) -> Standing:
        """What would be chosen now, and why it is not in force where it is not."""
        with self._membership.attached() as now:
            call = now.scheduler.standing.remote(workload_id)
            return self._membership.answer(call, "the scheduler")  # type: ignore[no-any-return]

    def recorded(self, workload_id: str) -> EventLog:
        """The last events of the workload's control loop, and the state from which they start."""
        with self._membership.attached() as now:
            call = now.scheduler.recorded.remote(workload_id)
            found: Recorded = self._membership.answer(call, "the scheduler")
            return found.log("")

    def excluded_tiers(self, workload_id: str) -> tuple[str, ...]:
        """Tiers that the workload's plans leave out now."""
        with self._membership.attached() as now:
            call = now.scheduler.away.remote(workload_id)
            return self._membership.answer(call, "the scheduler")  # type: ignore[no-any-return]

    def tell_runtime(self, workload_id: str, offered: Offered) -> Any:
        """Tell the scheduler of a runtime that was measured, or cannot be used; Ray's reference.

        Of two calls the second may come first: wait where that matters. None: nothing to tell.
        """
        with self._changing:  # a scheduler that begins anew is to know too
            workload = self._workloads.get(workload_id)
            if workload is None:
                return None  # forgotten while it was measured
            tier = with_offer(workload.profile.tier(offered.tier), offered)
            profile = workload.profile.with_tier(tier)
            self._workloads[workload_id] = replace(workload, profile=profile)
        with self._membership.attached() as now:
            if offered.times is not None:
                return now.scheduler.add_layer_times.remote(
                    workload_id, offered.tier, offered.times
                )
            told = (offered.tier, offered.runtime, offered.why)
            return now.scheduler.drop_layer_times.remote(workload_id, *told)

    def tell_codecs(
        self, workload_id: str, codecs: tuple[CodecSizes, ...], speeds: CodecSpeeds
    ) -> None:
        """Tell the scheduler how payloads of a workload may be written; does not wait.

        speeds: by tier; tiers left out keep theirs.
        """
        with self._changing:  # a scheduler that begins anew is to know too
            workload = self._workloads.get(workload_id)
            if workload is None:
                return  # forgotten while it was measured
            profile = workload.profile.with_codecs(codecs, dict(speeds))
            self._workloads[workload_id] = replace(workload, profile=profile)
        with self._membership.attached() as now:
            now.scheduler.set_codecs.remote(workload_id, codecs, speeds)

    def set_goal(self, goal: Goal) -> None:
        """Have every workload's plans chosen for that goal."""
        with self._membership.attached() as now:
            call = now.scheduler.set_goal.remote(goal)
            self._membership.answer(call, "the scheduler to take the goal")
        with self._changing:
            for name, workload in self._workloads.items():
                self._workloads[name] = replace(workload, goal=goal)

    def observe(self, workload_id: str, requests: Sequence[tuple[TierTiming, ...]]) -> None:
        """Tell the scheduler of finished requests; does not wait."""
        with self._membership.attached() as now:
            now.scheduler.observe.remote(workload_id, list(requests))

    def transferring(self, workload_id: str, progress: TransferProgress) -> None:
        """Tell the scheduler of a payload that is still on its way; does not wait."""
        link = progress.source, progress.target
        seen = progress.sent_bytes, progress.moving_s, progress.is_over
        with self._membership.attached() as now:
            now.scheduler.transferring.remote(workload_id, link, *seen)

    def next_activation(self, workload_id: str, version: int, timeout_s: float) -> Any:
        """A pending answer: the activation newer than `version`, or None after the timeout.

        version: of the plan that the caller has. The answer holds while the session is attached.
        """
        self._versions[workload_id] = version
        with self._membership.attached() as now:
            return now.scheduler.activation.remote(workload_id, version, timeout_s)

    # Keeping what runs running

    def tier_lost(self, tier: str) -> None:
        """Tell the scheduler that a tier's actor does not answer; does not wait."""
        with self._membership.attached() as now:
            now.scheduler.mark_lost.remote(tier)

    def tier_back(self, tier: str) -> None:
        """Tell the scheduler that it answers again; does not wait."""
        with self._membership.attached() as now:
            now.scheduler.mark_back.remote(tier, self._tiers[tier])

    def rebuild(self, lost: Collection[str]) -> str:
        """Initialise a restarted scheduler: the tiers and the workloads. As set_tiers().

        lost: tiers whose actors do not answer. The others are marked as back, since the checkpoint
        may be older than that.
        """
        with self._membership.attached() as now:
            tiers = {
                tier: replace(self._tiers[tier], actor=actor)
                for tier, actor in now.call_log.actors.items()
            }
            begun = now.scheduler.set_tiers.remote(tiers, self._imports)
            incarnation = str(self._membership.answer(begun, "the scheduler to start again"))
            for workload in list(self._workloads.values()):
                version = self._versions.get(workload.id, 0)
                call = now.scheduler.resume.remote(workload, version)
                self._membership.answer(call, "the scheduler to go on")
            for tier, handle in tiers.items():
                if tier in lost:
                    now.scheduler.mark_lost.remote(tier)
                else:
                    now.scheduler.mark_back.remote(tier, handle)
            return incarnation
