"""The caller's thread that finds out what approximations save and cost, while requests flow.

Sizes and seconds of codecs first, so that lossless ones can be used. Then, one after another, the
loss of whatever the planner would use if it cost nothing: only that is measured on the examples.
"""

import contextlib
import itertools
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from edgesplit.caller.accuracy.codec_sizes import EXAMPLES_SIZED, codec_sizes
from edgesplit.caller.accuracy.examples import Examples
from edgesplit.caller.accuracy.loss_meter import LossMeter
from edgesplit.caller.accuracy.workload_accuracy import MeasuredLoss, PlanPart, WorkloadAccuracy
from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.caller.settled_thread import SettledThread
from edgesplit.cluster.measure.runtimes import Offered
from edgesplit.cluster.session.session import Session
from edgesplit.config import Config
from edgesplit.core.accuracy import Loss
from edgesplit.core.codec_candidates import LossCandidate, next_to_measure, unmeasured_part
from edgesplit.core.goal import Goal
from edgesplit.core.payload_codec import AS_IS, PICTURE, CodecSizes, CodecSpeeds
from edgesplit.core.plan import Plan, Stage
from edgesplit.errors import ClosedError, EdgeSplitError, InputError
from edgesplit.node.codec.picture_speed import PictureSample
from edgesplit.node.codec.speeds import CodecsAsked
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


class AccuracyBenchmark:
    """Of one session. send: sends a payload at cut 0 along a plan; what comes back is in no record.

    fixed: the user's plan, of which alone losses are then measured. Nothing is measured while
    neither a codec nor a lossy runtime is wanted.
    """

    def __init__(
        self,
        session: Session,
        config: Config,
        examples: Examples | None,
        fixed: Plan | None = None,
    ) -> None:
        self._session, self._config, self._examples = session, config, examples
        self._fixed = fixed
        self.send: Send | None = None
        self._all: dict[str, WorkloadAccuracy] = {}  # by workload
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
        if arguments.has_files:
            workload.pictures.add(workload.shipped.exported.sent_payload(arguments.sent_leaves))
        self._all[workload.id] = WorkloadAccuracy(workload, arguments)
        self._changed.set()

    def drop(self, workload_id: str) -> None:
        """Measure nothing more of it."""
        gone = self._all.pop(workload_id, None)
        if gone is not None:
            gone.is_over = True
            gone.settled.set()

    def goal_changed(self) -> None:
        """Look again at once at what plans would use."""
        for workload_id in list(self._all):
            self.look_again(workload_id)

    def look_again(self, workload_id: str) -> None:
        """Something else may be worth measuring for that workload."""
        one = self._all.get(workload_id)
        if one is not None:
            one.settled.clear()
            self._changed.set()

    def wait(self, workload_id: str, timeout_s: float) -> bool:
        """Whether all that plans would use of that workload has been measured within the time."""
        one = self._all.get(workload_id)
        return one is None or one.settled.wait(timeout_s)

    def losses(self, workload_id: str) -> Mapping[PlanPart, Loss]:
        """What was measured: of codecs by name and cut, of runtimes by name and tier."""
        one = self._all.get(workload_id)
        return {} if one is None else one.losses

    def borne(self, workload_id: str, part: PlanPart) -> float | None:
        """How far answers of requests along it may be from exact ones; None: it is not granted."""
        one = self._all.get(workload_id)
        return None if one is None else one.borne(part)

    def give_up(self, workload_id: str, part: PlanPart, why: str) -> None:
        """Use that codec at no cut, or that runtime on that tier, for this workload any more.

        And say so. Any thread's; returns soon.
        """
        one = self._all.get(workload_id)
        if one is None or not one.drop(part[0]):
            return
        try:
            self._tell_dropped(one, part)
        except EdgeSplitError as error:
            _log.info("the scheduler is told once it is back: %s", error)
        finally:
            _warn(f"{part[0]} is not used for this model and input shape any more: {why}")

    # The thread

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._changed.wait(_PERIOD_S)
            self._changed.clear()
            for one in list(self._all.values()):
                try:
                    self._look(one)
                except Exception as error:  # top of the thread's loop: the next one's turn comes
                    self._failed(one, error)

    def _failed(self, one: WorkloadAccuracy, error: Exception) -> None:
        if isinstance(error, InputError) and one.has_examples:  # the user's to mend
            one.has_examples = False
            self._changed.set()  # what needs none goes on
            _warn(f"nothing lossy is used that is not measured yet: {error}")
            return
        one.not_before_s = time.monotonic() + _AGAIN_S
        one.settled.set()
        if self._stopped.is_set() or one.is_over:
            return
        is_known = isinstance(error, EdgeSplitError)
        _log.warning("codecs are not measured now: %s", error, exc_info=None if is_known else error)

    def _look(self, one: WorkloadAccuracy) -> None:
        """Measure what is wanted and not known yet."""
        told = {sizes.codec for sizes in one.workload.profile.codecs}
        if any(map(one.is_dropped, told)):  # it was not to be told then
            self._tell(one, ())
        wanted = self._wanted(one.workload.goal)
        has_pictures = self._config.sends_pictures and one.workload.pictures.are_new
        is_any_wanted = bool(wanted) or self._session.calibrates or has_pictures
        if one.is_over or time.monotonic() < one.not_before_s or not is_any_wanted:
            one.settled.set()
            return
        new = [codec for codec in wanted if codec not in one.sizes]
        tiers = set(one.workload.profile.names) - one.asked
        if new:
            for sizes in self._sizes(one, new):
                one.sizes[sizes.codec] = sizes
        if has_pictures:
            one.sizes[PICTURE] = one.workload.pictures.sizes(one.workload.graph)
        if one.forget_cut_short() or new or tiers or has_pictures:
            is_anew = bool(new) or has_pictures
            self._tell(one, tuple(one.workload.profile.names) if is_anew else tuple(tiers))
        while (candidate := self._candidate(one)) is not None:
            one.settled.clear()
            self._measure(one, candidate)
        one.settled.set()

    def _wanted(self, goal: Goal) -> tuple[str, ...]:
        """Codecs that payloads are encoded in, the fixed plan's too, as far as they are granted."""
        named = self._config.wanted_codecs(goal)
        used = [] if self._fixed is None else [c for c in self._fixed.codecs if c != AS_IS]
        if used:
            named += replace(self._config, codecs=used).wanted_codecs(goal)
        return tuple(dict.fromkeys(named))

    def _candidate(self, one: WorkloadAccuracy) -> LossCandidate | None:
        goal, workload = one.workload.goal, one.workload
        if self._examples is None or goal.max_accuracy_loss is None:
            return None
        if one.is_over or not one.has_examples:
            return None
        profile = self._session.planning.current_profile(workload.id)
        if self._fixed is not None:
            return unmeasured_part(self._fixed, profile)
        return next_to_measure(workload.graph, profile, goal)

    def _measure(self, one: WorkloadAccuracy, candidate: LossCandidate) -> None:
        assert self._examples is not None, "there is a candidate"
        most = one.workload.goal.max_accuracy_loss or 0.0
        meter = LossMeter(one.workload, one.arguments.forms, self._examples, most)
        compute = partial(self._compute, one)
        if candidate.cut is not None:
            found = meter.of_codec(candidate.cut, candidate.name, compute)
            one.measured[candidate.name, candidate.cut] = found
            self._tell(one, ())
            if self._fixed is not None and found.loss.most > most:
                _warn(
                    f"plan {self._fixed} is used without {candidate.name}: at cut "
                    f"{candidate.cut} that costs {found.loss}, {most:g} is granted"
                )
        else:
            part = candidate.name, candidate.tier
            if not one.is_dropped(candidate.name):
                one.measured[part] = self._of_runtime(one, candidate, meter)
            self._tell_runtime(one, part)
        _log.info("%s measured (%s): %s", candidate.name, candidate.plan, one.losses)

    def _of_runtime(
        self, one: WorkloadAccuracy, candidate: LossCandidate, meter: LossMeter
    ) -> MeasuredLoss:
        assert self.send is not None, "the session's calls are there"
        along = partial(self.send, one.workload, whole_on(candidate, one.workload))
        return meter.of_runtime(along, partial(self._compute, one))

    def _sizes(self, one: WorkloadAccuracy, codecs: Sequence[str]) -> tuple[CodecSizes, ...]:
        exported = one.workload.shipped.exported
        inputs = [exported.payload(arguments.decoded_leaves) for arguments in self._inputs(one)]
        compute = partial(self._compute, one)
        return codec_sizes((exported.program, one.workload.graph), inputs, codecs, compute)

    def _inputs(self, one: WorkloadAccuracy) -> Iterator[CallArguments]:
        """Some examples, or the first request's input where there are none."""
        if self._examples is None or not one.has_examples:
            yield one.arguments
            return
        batches = itertools.islice(self._examples.like(one.arguments.forms), EXAMPLES_SIZED)
        yield from (batch.arguments for batch in batches)

    def _compute(self, one: WorkloadAccuracy, function: Callable[[], _T]) -> _T:
        """Beside requests, which come first. Raises ClosedError at the end."""
        if not self._goes_on(one):
            raise ClosedError("the session ends")
        threads = self._session.threads(self._session.tiers.entry)
        try:
            return self._computing.submit(function, threads).result()
        except CancelledError as error:
            raise ClosedError("the session ends") from error

    def _tell(self, one: WorkloadAccuracy, tiers: Sequence[str]) -> None:
        """Everybody's: what is known now. tiers: that are asked first how quick they are."""
        speeds = self._speeds(one, tiers) if tiers else ()
        with one.telling:
            codecs = one.codecs()
            # First this process: what is not granted any more is left at once.
            one.workload.set_codecs(codecs, speeds)
            self._session.planning.tell_codecs(one.workload.id, codecs, speeds)

    def _speeds(self, one: WorkloadAccuracy, tiers: Sequence[str]) -> CodecSpeeds:
        """Of those tiers, in every codec; a tier that decodes no pictures says nothing of them."""
        named = tuple(sizes.codec for sizes in one.codecs() if sizes.codec != PICTURE)
        samples: tuple[PictureSample, ...] = ()
        if PICTURE in one.sizes:
            samples = self._compute(one, one.workload.pictures.samples)
        asked, goes_on = CodecsAsked(named, samples), partial(self._goes_on, one)
        speeds = self._session.codec_speeds(one.workload.id, asked, tiers, goes_on)
        one.asked.update(tier for tier, _ in speeds)
        return speeds

    def _tell_runtime(self, one: WorkloadAccuracy, part: tuple[str, str]) -> None:
        """Everybody's: what a runtime costs on a tier; all of the accuracy, if it was given up."""
        (runtime, tier), found = part, one.found(part)
        with one.telling:
            is_known = found is not None and not one.is_dropped(runtime)
            loss = found.loss.most if found is not None and is_known else 1.0
            known = self._session.planning.known_profile(one.workload.id).tier(tier)
            offered = Offered(tier, runtime, replace(known.times_in(runtime), loss=loss))
            one.workload.offer(offered)
            self._session.planning.tell_runtime(one.workload.id, offered)

    def _tell_dropped(self, one: WorkloadAccuracy, part: PlanPart) -> None:
        name, at = part
        if isinstance(at, int):
            self._tell(one, ())
            return
        for tier in one.workload.profile.tiers:
            if name in tier.runtimes:
                self._tell_runtime(one, (name, tier.name))

    def _goes_on(self, one: WorkloadAccuracy) -> bool:
        return not (self._stopped.is_set() or one.is_over)


def _warn(text: str) -> None:
    with contextlib.suppress(AccuracyWarning):  # where warnings are errors
        warnings.warn(text, AccuracyWarning, stacklevel=3)


def whole_on(candidate: LossCandidate, workload: ActiveWorkload) -> Plan:
    """The plan that runs all layers in the candidate's runtime on its tier."""
    n, entry = len(workload.graph), workload.profile.entry_tier
    whole = Stage(candidate.tier, 0, n, candidate.name)
    if candidate.tier == entry:
        return Plan((whole,))
    return Plan((Stage(entry, 0, 0), whole))
