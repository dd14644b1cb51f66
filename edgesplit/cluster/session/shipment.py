"""One program on its way to the hosts that lack it, until all have it.

What has come of a file stays on its host, so a transfer that broke off goes on where it was. Every
wait is for some progress, not for the whole.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import ray

from edgesplit.cluster.session.membership import ClusterMembership, SessionActors
from edgesplit.cluster.session.part_transfer import PartTransfer
from edgesplit.core.distribution import Distribution, Part
from edgesplit.core.record import CALLER
from edgesplit.errors import ClusterError, EdgeSplitError, WireError
from edgesplit.node.program.host_programs import ProgramHere
from edgesplit.node.program.packed import Bytes
from edgesplit.node.program.program_file import DescribedProgram, decode_program

Say = Callable[[str, str], None]
_SOURCE_S = 5.0  # for a tier that lacks nothing to say so
_BACK_S, _AGAIN_S = 30.0, 1.0  # for a tier that was killed meanwhile to be back
_DAMAGES, _ROUNDS = 3, 40


class Shipment:
    """Of one program. timeout_s: for a tier to take a part of it from this process.

    sent_bytes: of weights, by who sent them, CALLER or a tier; it is counted on. say: told the
    stage and how far it is.
    """

    def __init__(
        self,
        membership: ClusterMembership,
        program: DescribedProgram,
        sent_bytes: Counter[str],
        timeout_s: float,
        say: Say,
    ) -> None:
        self._membership, self._description = membership, program.description
        self._layouts = decode_program(program.description).layouts()
        self._storages = program.packed.by_name
        self._sent_bytes, self._timeout_s, self._say = sent_bytes, timeout_s, say
        self._suspected: set[tuple[str, str]] = set()
        self._barred: set[tuple[str, str]] = set()
        self._damages = 0
        self._progress_s: float | None = None  # when a part last came

    def deliver(self, now: SessionActors, tiers: Sequence[str], place: str) -> None:
        """Return when the hosts of these tiers have it. place: this host's own.

        Called while the connection is used. Raises ClusterError, WireError.
        """
        for _ in range(_ROUNDS):
            try:
                here = self._ask(now, tiers)
                if all(here[tier].is_whole for tier in tiers):
                    return
                self._send(now, here, place)
            except ClusterError:
                self._membership.check()
                if not self._was_on_its_way:
                    raise
                time.sleep(_AGAIN_S)
        raise ClusterError(
            f"the model was sent {_ROUNDS} times and is still not on {', '.join(tiers)}; is there "
            "room in EDGESPLIT_CACHE, and does anything clear it?"
        )

    @property
    def _was_on_its_way(self) -> bool:
        return self._progress_s is not None and time.monotonic() - self._progress_s < _BACK_S

    def _ask(self, now: SessionActors, tiers: Sequence[str]) -> dict[str, ProgramHere]:
        """What these tiers have of it, and those others that answer soon."""
        actors = now.call_log.actors
        calls = {tier: actor.has.remote(self._description) for tier, actor in actors.items()}
        found = {
            tier: self._membership.answer(calls[tier], f"tier {tier!r} to look for the model")
            for tier in tiers
        }
        others = {tier: call for tier, call in calls.items() if tier not in tiers}
        if others and not all(one.is_whole for one in found.values()):
            ray.wait(list(others.values()), num_returns=len(others), timeout=_SOURCE_S)
            for tier, call in others.items():
                with contextlib.suppress(EdgeSplitError):
                    found[tier] = self._membership.answer(call, f"tier {tier!r}", 0.0)
        return found

    def _send(self, now: SessionActors, here: Mapping[str, ProgramHere], place: str) -> None:
        """Send what is lacking as far as that goes. Raises as deliver()."""
        sizes = {file: layout.n_bytes for file, layout in self._layouts.items()}
        lacking = _one_per_place({t: one for t, one in here.items() if not one.is_whole})
        givers = {t: one for t, one in here.items() if one.is_whole and one.place != place}
        there = {tier: dict(here[tier].n_bytes) for tier in lacking} | dict.fromkeys(givers, sizes)
        distribution = Distribution(sizes, there, self._barred)
        stage = f"sending the model to {', '.join(lacking)}"
        total = sum(map(distribution.lacking, lacking))

        def has_come(part: Part) -> None:
            self._progress_s = time.monotonic()
            self._sent_bytes[part.source] += part.stop - part.start
            done = total - sum(map(distribution.lacking, lacking))
            self._say(stage, f"{done / 1e6:.0f} of {total / 1e6:.0f} MB")

        actors = now.call_log.actors
        transfer = PartTransfer(self._membership, actors, distribution, self._cut, self._timeout_s)
        transfer.run(has_come)
        for tier in lacking:
            if tier not in transfer.errors:
                self._have_taken(now, tier)
        for tier, (part, error) in transfer.errors.items():
            self._judge(part, error, tier in transfer.silent)

    def _cut(self, part: Part) -> Bytes:
        return self._layouts[part.file].part(self._storages, part.start, part.stop)

    def _have_taken(self, now: SessionActors, tier: str) -> None:
        call = now.call_log.actors[tier].take.remote(self._description)
        try:
            self._membership.answer(call, f"tier {tier!r} to take the model", self._timeout_s)
        except WireError as error:
            self._count_damage(error)

    def _judge(self, part: Part, error: EdgeSplitError, is_silent: bool) -> None:
        """A tier that gave nothing for long, or failed twice, gives that one nothing any more.

        One error is no proof: the one that takes may have been killed, or its disk be full.
        """
        if part.source != CALLER:
            pair = part.source, part.tier
            if is_silent or pair in self._suspected:
                self._barred.add(pair)
            self._suspected.add(pair)
        elif isinstance(error, WireError):
            self._count_damage(error)
        else:
            raise error

    def _count_damage(self, error: WireError) -> None:
        """What was damaged is sent again, but not for ever."""
        self._damages += 1
        if self._damages > _DAMAGES:
            raise error


def _one_per_place(lacking: Mapping[str, ProgramHere]) -> list[str]:
    """A tier for each place: what it takes is there for all others of that place."""
    found: dict[str, str] = {}
    for tier, one in lacking.items():
        found.setdefault(one.place, tier)
    return list(found.values())
