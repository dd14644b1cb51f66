"""The caller's thread that finds out what approximations save and cost, while requests flow.

Sizes and seconds of codecs first, so that lossless ones can be used. Then, one after another, the
loss of whatever the planner would use if it cost nothing: only that is measured on the examples.
"""

import itertools
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import ray.exceptions

from edgesplit.caller.accuracy.codec_sizes import EXAMPLES_SIZED, codec_sizes
from edgesplit.caller.accuracy.examples import Examples
from edgesplit.caller.accuracy.loss_meter import LossMeter
from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.caller.settled_thread import SettledThread
from edgesplit.cluster.measure.runtimes import Offered
from edgesplit.cluster.session.session import Session
from edgesplit.config import Config
from edgesplit.core.accuracy import Loss
from edgesplit.core.codec_candidates import LossCandidate, next_to_measure
from edgesplit.core.payload_codec import CodecSizes
from edgesplit.core.plan import Plan, Stage
from edgesplit.errors import ClosedError, EdgeSplitError, InputError
from edgesplit.node.process.threads import begin

_PERIOD_S = 2.0  # between two looks at what plans would use
_STOP_TIMEOUT_S = 10.0
_AGAIN_S = 30.0  # after an error
_T = TypeVar("_T")
Send = Callable[[ActiveWorkload, Plan, list[Any]], list[Any]]
_log = logging.getLogger(__name__)


class AccuracyWarning(UserWarning):
    """What the goal grants to be lost is not used, or not any more; the message says why.

    Example:
        >>> warnings.simplefilter("error", AccuracyWarning)  # raise instead of warn
    """


@dataclass(eq=False)
class _Measured:
    """One workload, and what is known of its codecs.

    losses: of a codec by its name and the cut, of a runtime by its name and the tier.
    """

    workload: ActiveWorkload
    arguments: CallArguments
    sizes: dict[str, CodecSizes] = field(default_factory=dict)
    losses: dict[tuple[str, int | str], Loss] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)  # tiers whose seconds are known
    settled: threading.Event = field(default_factory=threading.Event)
    not_before_s: float = 0.0
    is_over: bool = False

    def codecs(self) -> tuple[CodecSizes, ...]:
        """With the losses that were measured, without what was dropped."""
        left = [one for codec, one in self.sizes.items() if codec not in self.dropped]
        return tuple(replace(one, loss=self._losses_of(one)) for one in left)

    def _losses_of(self, one: CodecSizes) -> tuple[float | None, ...]:
        known = ((cut, self.losses.get((one.codec, cut))) for cut in range(len(one.loss)))
        return tuple(one.loss[cut] if loss is None else _counted(loss) for cut, loss in known)


class AccuracyBenchmark:
    """Of one session. send: sends a payload at cut 0 along a plan; what comes back is in no record.

    Nothing is measured while neither a codec nor a lossy runtime is wanted.
    """

    def __init__(self, session: Session, config: Config, examples: Examples | None) -> None:
        self._session, self._config, self._examples = session, config, examples
        self.send: Send | None = None
        self._all: dict[str, _Measured] = {}  # by workload
        self._computing = SettledThread("accuracy", bool(config.flush_denormals), is_patient=True)
        self._stopped = threading.Event()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, once the session is open; a second call does nothing."""
        if self._thread is None and not self._stopped.is_set():
            self._thread = begin(self._run, "codecs")

    def stop(self) -> None:
        """End the thread; nothing of Ray's is called any more when this returns."""
        self._stopped.set()
        self._changed.set()
        self._computing.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)

    def add(self, workload: ActiveWorkload, arguments: CallArguments) -> None:
        """Measure this workload's codecs. arguments: of its first request."""
        self._all[workload.id] = _Measured(workload, arguments)
        self._changed.set()

    def drop(self, workload_id: str) -> None:
        """Measure nothing more of it."""
        gone = self._all.pop(workload_id, None)
        if gone is not None:
            gone.is_over = True
            gone.settled.set()

    def goal_changed(self) -> None:
        """Look again at once at what plans would use."""
        for one in list(self._all.values()):
            one.settled.clear()
        self._changed.set()

    def wait(self, workload_id: str, timeout_s: float) -> bool:
        """Whether all that plans would use of that workload has been measured within the time."""
        one = self._all.get(workload_id)
        return one is None or one.settled.wait(timeout_s)

    def losses(self, workload_id: str) -> dict[tuple[str, int | str], Loss]:
        """What was measured: of codecs by name and cut, of runtimes by name and tier."""
        one = self._all.get(workload_id)
        return {} if one is None else dict(one.losses)

    def give_up(self, workload_id: str, codec: str, why: str) -> None:
        """Use that codec for this workload no more, and say so. Any thread's; returns soon."""
        one = self._all.get(workload_id)
        if one is None or codec in one.dropped:
            return
        one.dropped.add(codec)
        warnings.warn(
            f"{codec} is not used for this model and input shape any more: {why}",
            AccuracyWarning,
            stacklevel=2,
        )
        self._changed.set()

    # The thread

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._changed.wait(_PERIOD_S)
            self._changed.clear()
            for one in list(self._all.values()):
                try:
                    self._look(one)
                except ClosedError:
                    return
                except (EdgeSplitError, ray.exceptions.RayError) as error:
                    self._failed(one, error)

    def _failed(self, one: _Measured, error: Exception) -> None:
        one.not_before_s = time.monotonic() + _AGAIN_S
        one.settled.set()
        if isinstance(error, InputError):  # of the examples: the user's to mend
            one.is_over = True
            warnings.warn(f"nothing lossy is used: {error}", AccuracyWarning, stacklevel=2)
        else:
            _log.warning("codecs are not measured now, payloads travel as they are: %s", error)

    def _look(self, one: _Measured) -> None:
        """Measure what is wanted and not known yet."""
        wanted = self._config.wanted_codecs(one.workload.goal)
        is_any_wanted = bool(wanted) or self._session.calibrates
        if one.is_over or time.monotonic() < one.not_before_s or not is_any_wanted:
            one.settled.set()
            return
        told = {sizes.codec for sizes in one.workload.profile.codecs}
        new = [codec for codec in wanted if codec not in one.sizes]
        tiers = set(one.workload.profile.names) - one.asked
        if new:
            for sizes in self._sizes(one, new):
                one.sizes[sizes.codec] = sizes
        if new or tiers or told & one.dropped:
            self._tell(one, tuple(one.workload.profile.names) if new else tuple(tiers))
        while (candidate := self._candidate(one)) is not None:
            one.settled.clear()
            self._measure(one, candidate)
        one.settled.set()

    def _candidate(self, one: _Measured) -> LossCandidate | None:
        goal, workload = one.workload.goal, one.workload
        if self._examples is None or goal.max_accuracy_loss is None or one.is_over:
            return None
        profile = self._session.planning.current_profile(workload.id)
        return next_to_measure(workload.graph, profile, goal)

    def _measure(self, one: _Measured, candidate: LossCandidate) -> None:
        assert self._examples is not None, "there is a candidate"
        most = one.workload.goal.max_accuracy_loss or 0.0
        meter = LossMeter(one.workload, one.arguments.forms, self._examples, most)
        compute = partial(self._compute, one)
        if candidate.cut is not None:
            loss = meter.of_codec(candidate.cut, candidate.name, compute)
            one.losses[candidate.name, candidate.cut] = loss
            self._tell(one, ())
        else:
            assert self.send is not None, "the session's calls are there"
            along = partial(self.send, one.workload, whole_on(candidate, one.workload))
            loss = meter.of_runtime(along, compute)
            one.losses[candidate.name, candidate.tier] = loss
            self._tell_runtime(one, candidate, _counted(loss))
        _log.info("%s costs %s of accuracy (%s)", candidate.name, loss, candidate.plan)

    def _sizes(self, one: _Measured, codecs: Sequence[str]) -> tuple[CodecSizes, ...]:
        exported = one.workload.shipped.exported
        inputs = [exported.payload(arguments.leaves) for arguments in self._inputs(one)]
        compute = partial(self._compute, one)
        return codec_sizes((exported.program, one.workload.graph), inputs, codecs, compute)

    def _inputs(self, one: _Measured) -> Iterator[CallArguments]:
        """Some examples, or the first request's input where there are none."""
        if self._examples is None:
            yield one.arguments
            return
        batches = itertools.islice(self._examples.like(one.arguments.forms), EXAMPLES_SIZED)
        yield from (batch.arguments for batch in batches)

    def _compute(self, one: _Measured, function: Callable[[], _T]) -> _T:
        """Beside requests, which come first. Raises ClosedError at the end."""
        if self._stopped.is_set() or one.is_over:
            raise ClosedError("the session ends")
        threads = self._session.threads(self._session.tiers.entry)
        try:
            return self._computing.submit(function, threads).result()
        except RuntimeError as error:
            if self._stopped.is_set():
                raise ClosedError("the session ends") from error
            raise

    def _tell(self, one: _Measured, tiers: Sequence[str]) -> None:
        """Everybody's: what is known now. tiers: that are asked first how quick they are."""
        codecs = one.codecs()
        named = tuple(sizes.codec for sizes in one.codecs())
        speeds = self._session.codec_speeds(one.workload.id, named, tiers) if tiers else ()
        one.asked.update(tier for tier, _ in speeds)
        self._session.planning.tell_codecs(one.workload.id, codecs, speeds)
        one.workload.set_codecs(codecs, speeds)

    def _tell_runtime(self, one: _Measured, candidate: LossCandidate, loss: float) -> None:
        """Everybody's: what a runtime costs on a tier."""
        known = self._session.planning.known_profile(one.workload.id).tier(candidate.tier)
        times = replace(known.times_in(candidate.name), loss=loss)
        offered = Offered(candidate.tier, candidate.name, times)
        self._session.planning.tell_runtime(one.workload.id, offered)
        one.workload.offer(offered)


def _counted(loss: Loss) -> float:
    """What plans count with: the upper end, from 0 to 1; 1 is more than any goal grants."""
    return min(1.0, max(0.0, loss.upper))


def whole_on(candidate: LossCandidate, workload: ActiveWorkload) -> Plan:
    """The plan that runs all layers in the candidate's runtime on its tier."""
    n, entry = len(workload.graph), workload.profile.entry_tier
    whole = Stage(candidate.tier, 0, n, candidate.name)
    if candidate.tier == entry:
        return Plan((whole,))
    return Plan((Stage(entry, 0, 0), whole))
