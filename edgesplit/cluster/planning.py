"""What a session tells the scheduler and asks of it, and what a new scheduler has to be told."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgesplit.cluster.answers import CONTROL_TIMEOUT_S
from edgesplit.cluster.attachment import Attaching
from edgesplit.cluster.loop import Activation, TierHandle, Workload
from edgesplit.cluster.runtimes import Offered, with_offer
from edgesplit.core.goal import Goal
from edgesplit.core.profile import Profile
from edgesplit.core.sample import Sample
from edgesplit.errors import ClusterError


class Planning:
    """The scheduler's side of one session. Every method may raise ClusterError.

    tiers: how to reach each, empty until all have been met; the session keeps it up to date.
    """

    def __init__(self, attaching: Attaching, tiers: Mapping[str, TierHandle]) -> None:
        self._attaching, self._tiers = attaching, tiers
        self._workloads: dict[str, Workload] = {}
        self._changing = threading.Lock()  # held while what is known of workloads changes
        self._versions: dict[str, int] = {}  # of the plans that the caller has

    def meet(self, tiers: Mapping[str, TierHandle]) -> str:
        """Tell the first scheduler of the tiers; returns its incarnation."""
        with self._attaching.attached() as now:
            self._attaching.answer(now.scheduler.meet.remote(tiers), "the scheduler to start")
            which = now.scheduler.incarnation.remote()
            return str(self._attaching.answer(which, "the scheduler to say which it is"))

    # Workloads

    def begin(self, workload: Workload) -> Activation:
        """Hand a workload to the scheduler; returns its first active plan."""
        with self._changing:
            self._workloads[workload.id] = workload
        with self._attaching.attached() as now:
            self._attaching.answer(now.scheduler.begin.remote(workload), "the scheduler to plan")
            activation = self._attaching.answer(
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

    def current_profile(self, workload_id: str) -> Profile:
        """The scheduler's beliefs about tiers and links now."""
        with self._attaching.attached() as now:
            call = now.scheduler.profile.remote(workload_id)
            return self._attaching.answer(call, "the scheduler")  # type: ignore[no-any-return]

    def tiers_away(self, workload_id: str) -> tuple[str, ...]:
        """Tiers that the workload's plans leave out now."""
        with self._attaching.attached() as now:
            call = now.scheduler.away.remote(workload_id)
            return self._attaching.answer(call, "the scheduler")  # type: ignore[no-any-return]

    def tell_runtime(self, workload_id: str, offered: Offered) -> None:
        """Tell the scheduler of a runtime that was measured, or cannot be used; does not wait."""
        with self._changing:  # a scheduler that begins anew is to know too
            workload = self._workloads[workload_id]
            tier = with_offer(workload.profile.tier(offered.tier), offered)
            profile = workload.profile.with_tier(tier)
            self._workloads[workload_id] = replace(workload, profile=profile)
        with self._attaching.attached() as now:
            if offered.row is not None:
                now.scheduler.add_row.remote(workload_id, offered.tier, offered.row)
            else:
                told = (offered.tier, offered.runtime, offered.why)
                now.scheduler.drop_row.remote(workload_id, *told)

    def pursue(self, goal: Goal) -> None:
        """Have every workload's plans chosen for that goal."""
        with self._attaching.attached() as now:
            call = now.scheduler.pursue.remote(goal)
            self._attaching.answer(call, "the scheduler to take the goal")
        with self._changing:
            for name, workload in self._workloads.items():
                self._workloads[name] = replace(workload, goal=goal)

    def observe(self, workload_id: str, requests: Sequence[tuple[Sample, ...]]) -> None:
        """Tell the scheduler of finished requests; does not wait."""
        with self._attaching.attached() as now:
            now.scheduler.observe.remote(workload_id, list(requests))

    def next_activation(self, workload_id: str, version: int, timeout_s: float) -> Any:
        """A pending answer: the activation newer than `version`, or None after the timeout.

        version: of the plan that the caller has. The answer holds while the session is attached.
        """
        self._versions[workload_id] = version
        with self._attaching.attached() as now:
            return now.scheduler.activation.remote(workload_id, version, timeout_s)

    # Keeping what runs running

    def tier_lost(self, tier: str) -> None:
        """Tell the scheduler that a tier's actor does not answer; does not wait."""
        with self._attaching.attached() as now:
            now.scheduler.lose.remote(tier)

    def tier_back(self, tier: str) -> None:
        """Tell the scheduler that it answers again; does not wait."""
        with self._attaching.attached() as now:
            now.scheduler.rejoin.remote(tier, self._tiers[tier])

    def rebuild(self, lost: Collection[str]) -> None:
        """Tell a scheduler that was started anew of the tiers and the workloads.

        lost: tiers whose actors do not answer. Of the others it is told that they do: its
        checkpoint may be older than that.
        """
        with self._attaching.attached() as now:
            tiers = {
                tier: TierHandle(actor, self._tiers[tier].address)
                for tier, actor in now.recipes.actors.items()
            }
            self._attaching.answer(now.scheduler.meet.remote(tiers), "the scheduler to start again")
            for workload in list(self._workloads.values()):
                version = self._versions.get(workload.id, 0)
                call = now.scheduler.resume.remote(workload, version)
                self._attaching.answer(call, "the scheduler to go on")
            for tier, handle in tiers.items():
                if tier in lost:
                    now.scheduler.lose.remote(tier)
                else:
                    now.scheduler.rejoin.remote(tier, handle)
