"""Parts of a program's weights under way between tiers, by Ray: sent, awaited, given up on.

Ray moves a part from its source's node to the tier's; this process only passes its reference on,
and keeps none of those that have come.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

from edgesplit.cluster.session.membership import ClusterMembership
from edgesplit.core.distribution import Distribution, Part
from edgesplit.core.record import CALLER
from edgesplit.errors import ClusterError, EdgeSplitError
from edgesplit.node.program.packed import Bytes

_LOOK_S = 0.2
_TIER_S = 30.0  # another tier that has sent no part for so long is no source


class PartTransfer:
    """What one Distribution says is sent. cut: makes a part that this process sends.

    timeout_s: for a tier to take one of these. errors: by tier, what ended its transfer, and of
    which part. silent: tiers that got nothing for too long.
    """

    def __init__(
        self,
        membership: ClusterMembership,
        actors: Mapping[str, Any],
        distribution: Distribution,
        cut: Callable[[Part], Bytes],
        timeout_s: float,
    ) -> None:
        self._membership, self._actors = membership, actors
        self._distribution, self._cut, self._timeout_s = distribution, cut, timeout_s
        self._under_way: dict[Any, tuple[Part, float]] = {}  # with when it was sent
        self._heard_s: dict[str, float] = {}  # when a tier last took a part
        self.errors: dict[str, tuple[Part, EdgeSplitError]] = {}
        self.silent: set[str] = set()

    def run(self, has_come: Callable[[Part], None]) -> None:
        """Return when nothing more can be sent; has_come(part) after each part."""
        while self._send():
            ready, _ = ray.wait(list(self._under_way), num_returns=1, timeout=_LOOK_S)
            self._membership.check()
            for call in ready:
                if call in self._under_way:  # and not given up on a moment ago
                    self._hear(call, has_come)
            self._give_up_on_silent()

    def _send(self) -> bool:
        """Send what is to be sent now; whether anything is under way."""
        for part in self._distribution.next():
            if part.source == CALLER:
                data = self._cut(part)
            else:
                giver = self._actors[part.source]
                data = giver.give_part.remote(part.file, part.start, part.stop)
            call = self._actors[part.tier].take_part.remote(part.file, part.start, data)
            self._under_way[call] = part, time.monotonic()
        return bool(self._under_way)

    def _hear(self, call: Any, has_come: Callable[[Part], None]) -> None:
        part, since_s = self._under_way.pop(call)
        try:
            n_bytes = self._membership.answer(call, f"tier {part.tier!r} to take the model")
        except EdgeSplitError as error:
            self._membership.check()
            self._end(part, error)
            return
        self._heard_s[part.tier] = time.monotonic()
        self._distribution.arrived(part, n_bytes, self._heard_s[part.tier] - since_s)
        has_come(part)

    def _give_up_on_silent(self) -> None:
        now_s = time.monotonic()
        for part, since_s in list(self._under_way.values()):
            limit_s = self._timeout_s if part.source == CALLER else _TIER_S
            if now_s - max(since_s, self._heard_s.get(part.tier, 0.0)) > limit_s:
                self.silent.add(part.tier)
                source = "from here" if part.source == CALLER else f"from tier {part.source!r}"
                what = f"tier {part.tier!r} to take the next part of the model {source}"
                self._end(part, ClusterError(f"waited {limit_s:g} s for {what}, in vain"))

    def _end(self, part: Part, error: EdgeSplitError) -> None:
        """The tier's transfer ends; what has come stays there."""
        self.errors.setdefault(part.tier, (part, error))
        self._distribution.leave_out(part.tier)
        for call in [call for call, (one, _) in self._under_way.items() if one.tier == part.tier]:
            del self._under_way[call]
