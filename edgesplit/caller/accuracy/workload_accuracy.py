"""What is known of one workload's codecs and lossy runtimes: sizes, losses, what was dropped."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.core.accuracy import Loss
from edgesplit.core.payload_codec import CODECS, CodecSizes, is_lossy, parts_of

PlanPart = tuple[str, int | str]  # of a plan: a codec and the cut, or a runtime and the tier


@dataclass(frozen=True)
class MeasuredLoss:
    """On the examples. apart: how often the class differs from the exact one, or how far results
    are apart: what can be seen of requests too, whose right answers nobody knows. is_cut_short: the
    loss is so surely too large that some examples were left out.
    """

    loss: Loss
    apart: Loss
    is_cut_short: bool = False


@dataclass(eq=False)
class WorkloadAccuracy:
    """arguments: of its first request. asked: tiers whose seconds are known. telling: held while
    others are told what may be used. has_examples: that are of use. is_over: it was forgotten.
    """

    workload: ActiveWorkload
    arguments: CallArguments
    sizes: dict[str, CodecSizes] = field(default_factory=dict)
    measured: dict[PlanPart, MeasuredLoss] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)  # number forms and runtimes
    asked: set[str] = field(default_factory=set)
    settled: threading.Event = field(default_factory=threading.Event)
    telling: threading.Lock = field(default_factory=threading.Lock)
    not_before_s: float = 0.0
    has_examples: bool = True
    is_over: bool = False

    @property
    def losses(self) -> Mapping[PlanPart, Loss]:
        """As measured."""
        return {part: found.loss for part, found in list(self.measured.items())}

    def drop(self, name: str) -> bool:
        """Use a codec, and all that round alike, or a runtime no more; False: it was dropped."""
        what = _rounding(name)
        if what in self.dropped:
            return False
        self.dropped.add(what)
        return True

    def is_dropped(self, name: str) -> bool:
        """Whether that codec or runtime was."""
        return _rounding(name) in self.dropped

    def codecs(self) -> tuple[CodecSizes, ...]:
        """With the losses that were measured, without what was dropped."""
        left = [one for codec, one in list(self.sizes.items()) if not self.is_dropped(codec)]
        return tuple(replace(one, loss=self._losses_of(one)) for one in left)

    def found(self, part: PlanPart) -> MeasuredLoss | None:
        """What it costs. Of codecs that round alike one is measured for all."""
        (name, at), known = part, list(self.measured.items())
        alike = (one for (n, a), one in known if a == at and _rounding(n) == _rounding(name))
        return next(alike, None)

    def borne(self, part: PlanPart) -> float | None:
        """How far answers of requests may be from exact ones; None: it is not granted at all.

        As far as the goal grants, or as far as on the examples where that was found to cost no
        more than that: most other answers were as good there.
        """
        found, most = self.found(part), self.workload.goal.max_accuracy_loss
        if found is None or most is None or found.loss.most > most or self.is_dropped(part[0]):
            return None
        return max(most, found.apart.most)

    def forget_cut_short(self) -> bool:
        """Losses that were not measured on all examples, since they are over another goal's grant.

        Whether there are such: what they are is to be measured again.
        """
        most = self.workload.goal.max_accuracy_loss
        if most is None:
            return False
        gone = [
            part
            for part, found in list(self.measured.items())
            if isinstance(part[1], int)
            and found.is_cut_short
            and found.loss.lower <= most < found.loss.most
        ]
        for part in gone:
            del self.measured[part]
        return bool(gone)

    def _losses_of(self, one: CodecSizes) -> tuple[float | None, ...]:
        if not is_lossy(one.codec):
            return one.loss
        known = (self.found((one.codec, cut)) for cut in range(len(one.loss)))
        return tuple(None if found is None else found.loss.most for found in known)


def _rounding(name: str) -> str:
    """What of a codec loses something: its number form; a runtime is its own name."""
    form = parts_of(name)[0] if name in CODECS else None
    return form or name
