"""The programs of a session on its tiers: a host that has one loads it, others are sent it."""

import logging
from collections import Counter
from collections.abc import Iterable

from edgesplit.cluster.session.membership import ClusterMembership, SessionActors
from edgesplit.cluster.session.shipment import Say, Shipment
from edgesplit.node.program.host_programs import store_here
from edgesplit.node.program.program_file import DescribedProgram

_log = logging.getLogger(__name__)


class SessionPrograms:
    """By their ids in this session. timeout_s: for a tier to take a part of one.

    sent_bytes: of weights, by who sent them: a tier, or core.record.CALLER.
    """

    def __init__(self, membership: ClusterMembership, timeout_s: float) -> None:
        self._membership, self._timeout_s = membership, timeout_s
        self._known: dict[str, DescribedProgram] = {}
        self._loading: set[str] = set()  # names of programs
        self.sent_bytes: Counter[str] = Counter()

    def __getitem__(self, program_id: str) -> DescribedProgram:
        return self._known[program_id]

    def load(self, program_id: str, program: DescribedProgram, say: Say) -> None:
        """Have every tier load a program, and send what its host lacks of it; say: of Shipment."""
        self._known[program_id] = program
        self._loading.add(program.name)
        try:
            with self._membership.attached() as now:
                self._send(now, program, list(now.call_log.actors), say)
        finally:
            self._loading.discard(program.name)
        told = (program_id, program.name)
        self._membership.tell("load", lambda tier: told, "to load the model", self._timeout_s)

    def send_again(self, now: SessionActors, tier: str) -> None:
        """What a restarted tier's host lacks by now of all programs.

        load() itself sends it one that is on its way.
        """
        for program in list(self._known.values()):
            if program.name in self._loading:
                continue
            self._send(now, program, [tier], lambda stage, how_far: None)

    def forget(self, program_ids: Iterable[str]) -> None:
        """Send none of these again."""
        for program_id in program_ids:
            self._known.pop(program_id, None)

    def _send(
        self, now: SessionActors, program: DescribedProgram, tiers: list[str], say: Say
    ) -> None:
        before = self.sent_bytes.copy()
        shipment = Shipment(self._membership, program, self.sent_bytes, self._timeout_s, say)
        shipment.deliver(now, tiers, store_here().place)
        sent = ", ".join(
            f"{n_bytes / 1e6:.1f} MB from {source}"
            for source, n_bytes in (self.sent_bytes - before).items()
        )
        _log.info("weights of program %s sent: %s", program.name, sent or "none")
