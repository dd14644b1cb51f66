"""The calls of an EdgeSplit: arguments become requests, outcomes become results and history."""

import collections
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from edgesplit.caller.accuracy.accuracy_watch import AccuracyWatch
from edgesplit.caller.active_workload import ActiveWorkload, Route
from edgesplit.caller.answer_check import AnswerCheck
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.caller.history import History
from edgesplit.caller.local_fallback import LocalFallback
from edgesplit.caller.requests import PendingRequest, RequestContext, RequestSender
from edgesplit.caller.workloads import Workloads
from edgesplit.cluster.session.session import Session
from edgesplit.cluster.session.watch import PlanWatch
from edgesplit.config import Config
from edgesplit.core.given import number_above_0
from edgesplit.core.hedge import HedgeBudget
from edgesplit.core.payload_codec import PICTURE
from edgesplit.core.plan import Plan, parse_plan
from edgesplit.errors import InputError, RequestError
from edgesplit.node.process.messages import warn
from edgesplit.node.program.export.model_watch import ModelChangedWarning
from edgesplit.node.program.program import Program
from edgesplit.node.transport import tensors, wire
from edgesplit.node.transport.channel import Outcome
from edgesplit.node.transport.client import Client


@dataclass(frozen=True)
class CallOptions:
    """What a call wants beside the result. plan None: the one in force; timeout_s None: config's.

    Raises InputError for a time limit that is none, and what is no plan.
    """

    plan: Plan | str | None = None
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not (self.plan is None or isinstance(self.plan, (Plan, str))):
            raise InputError(f"plan must be a Plan or its text, given {self.plan!r}")
        if self.timeout_s is not None:
            most = wire.LONGEST_TIMEOUT_S
            seconds = number_above_0("timeout_s, in seconds,", self.timeout_s, InputError, most)
            object.__setattr__(self, "timeout_s", seconds)


class Calls:
    """Of one EdgeSplit, once it is open; several threads may call at once."""

    def __init__(
        self,
        session: Session,
        watch: PlanWatch,
        workloads: Workloads,
        config: Config,
        check: AnswerCheck,
        accuracy: AccuracyWatch,
    ) -> None:
        self._session, self._watch = session, watch
        self._workloads, self._config = workloads, config
        self._check, self._accuracy = check, accuracy
        self._ids = map(f"{id(self):x}-{{}}".format, itertools.count())
        self._fallback = LocalFallback(bool(config.flush_denormals))
        self._shared = RequestContext(
            self._run_here, self._begin_here, self._told, HedgeBudget(config.hedge_share)
        )
        self._clients: dict[str, Client] = {}
        self._is_closed = False
        self.history = History()

    def infer(self, options: CallOptions, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """One request."""
        arguments = CallArguments(args, kwargs)
        workload = self._workloads.of(arguments)
        with RequestSender(self._client, self._shared) as sender:
            pending = self._pending(options, arguments, workload)
            sender.send(pending)
            changed = self._workloads.look()  # while the tiers compute
            result = self._result(pending, sender.receive(pending))
        if changed:
            warn(changed, ModelChangedWarning)
        return result

    def map(self, options: CallOptions, batches: Iterable[Any]) -> Iterator[Any]:
        """One request per batch, several under way at once, in order."""
        waiting = collections.deque[PendingRequest]()
        with RequestSender(self._client, self._shared) as sender:
            for batch in batches:
                # Copied at once: the program may change it as soon as this generator pauses.
                arguments = CallArguments(batch if isinstance(batch, tuple) else (batch,), {})
                workload = self._workloads.of(arguments)
                waiting.append(self._pending(options, arguments, workload, is_kept=True))
                sender.send(waiting[-1])
                if changed := self._workloads.look():
                    warn(changed, ModelChangedWarning)
                if len(waiting) >= self._config.in_flight:
                    pending = waiting.popleft()
                    yield self._result(pending, sender.receive(pending))
            for pending in waiting:
                yield self._result(pending, sender.receive(pending))

    def send_along(self, workload: ActiveWorkload, plan: Plan, values: list[Any]) -> list[Any]:
        """A payload at cut 0 along that plan, for measuring: no record, nothing is learnt from it.

        The payload at the last cut. Raises RequestError, also where others than those tiers and
        runtimes made it, ClosedError.
        """
        route, timeout_s = workload.along(plan), self._config.timeout_s
        specs, buffers = tensors.pack(values)
        request = wire.Request(
            id=next(self._ids), program=workload.id, route=route.hops, at=0, timeout_s=timeout_s,
            values=specs,
        )  # fmt: skip
        now_s = time.perf_counter()
        pending = PendingRequest(
            request.id, request, buffers, values, workload, route, now_s, now_s + timeout_s, False
        )
        with RequestSender(self._client, self._shared) as sender:
            sender.send(pending)
            outcome = sender.receive(pending)
        if why := why_not_along(plan, outcome):
            raise RequestError(f"a request to be measured did not go along {plan}: {why}")
        return outcome.values

    def close(self) -> None:
        """End the connections; what is under way ends in an error."""
        self._is_closed = True
        for client in list(self._clients.values()):
            client.close()
        self._fallback.close()
        self._check.close()
        self._accuracy.close()

    def _pending(
        self,
        options: CallOptions,
        arguments: CallArguments,
        workload: ActiveWorkload,
        is_kept: bool = False,
    ) -> PendingRequest:
        """is_kept: the program may change the input before the result is there.

        It may be sent again however a plan is finished: a busy tier asks for that.
        """
        route = workload.route
        if options.plan is not None:
            route = self._along(options.plan, workload)
        timeout_s = self._config.timeout_s if options.timeout_s is None else options.timeout_s
        values = (
            _payload_of_files(arguments, workload, route.plan)
            if arguments.has_files
            else workload.shipped.exported.payload(arguments.leaves)
        )
        if is_kept:
            values = tensors.copied_values(values)
        specs, buffers = tensors.pack(values)
        self._check_size(buffers)
        request = wire.Request(
            id=next(self._ids),
            program=workload.id,
            route=route.hops,
            at=0,
            timeout_s=timeout_s,
            values=specs,
        )
        return PendingRequest(
            request.id,
            request,
            buffers,
            values,
            workload,
            route,
            arguments.at_s,
            deadline_s=time.perf_counter() + timeout_s,
            updates_beliefs=options.plan is None,
        )

    def _along(self, plan: Plan | str, workload: ActiveWorkload) -> Route:
        parsed = parse_plan(plan) if isinstance(plan, str) else plan
        parsed.check(workload.graph, workload.profile.names)
        return workload.along(parsed.check_runtimes(workload.profile.offered))

    def _check_size(self, buffers: Iterable[wire.Buffer]) -> None:
        n_bytes = sum([buffer.nbytes for buffer in buffers])
        if n_bytes > self._config.max_frame_bytes:
            raise InputError(
                f"the input has {n_bytes} bytes, over the limit of {self._config.max_frame_bytes} "
                "per message; use smaller batches or raise Config(max_frame_bytes=...)"
            )

    def _result(self, pending: PendingRequest, outcome: Outcome) -> Any:
        workload = pending.workload
        result = workload.shipped.exported.unflatten(outcome.values)
        self.history.add(pending, outcome)
        if pending.route.is_lossy:
            self._accuracy.answered(workload, pending.route.plan, pending.values, outcome.values)
        if not (pending.route.rounds_payloads or pending.route.is_torch_alone):
            self._check.answered(workload, pending.values, outcome.values, outcome.timings)
        if pending.updates_beliefs:
            self._watch.finished(workload.id, outcome.timings)
        return result

    def _run_here(self, program: Program, values: list[Any], timeout_s: float) -> list[Any]:
        threads = self._session.threads(self._session.tiers.entry)
        return self._fallback.run(program, values, threads, timeout_s)

    def _begin_here(self, program: Program, values: list[Any]) -> "Future[list[Any]]":
        return self._fallback.begin(
            program, values, self._session.threads(self._session.tiers.entry)
        )

    def _told(self, pending: PendingRequest, progress: wire.TransferProgress) -> None:
        if pending.updates_beliefs:
            self._watch.transferring(pending.workload.id, progress)

    def _client(self, address: str) -> Client:
        """Connections to the tier that listens there."""
        client = self._clients.get(address)
        if client is None:
            made = Client(
                address,
                credentials=self._session.credentials,
                max_frame_bytes=self._config.max_frame_bytes,
            )
            client = self._clients.setdefault(address, made)
            if self._is_closed:
                client.close()
        return client


def _payload_of_files(arguments: CallArguments, workload: ActiveWorkload, plan: Plan) -> list[Any]:
    """At cut 0, picture files as they are where tiers are known to decode them.

    Raises InputError for a file that is broken, where it is decoded here.
    """
    exported = workload.shipped.exported
    sent = exported.sent_payload(arguments.sent_leaves)
    workload.pictures.add(sent)
    if workload.profile.opens_pictures or PICTURE in plan.codecs:
        return sent
    return exported.payload(arguments.decoded_leaves)


def why_not_along(plan: Plan, outcome: Outcome) -> str:
    """Why an answer is not that plan's own; empty where it is.

    What a tier cannot run in the planned runtime it runs in torch, or leaves to another.
    """
    if outcome.why:
        return outcome.why
    for stage, timing in zip(plan.stages, outcome.timings, strict=False):
        if timing.failed_over or timing.hedged:
            return f"{timing.failed_over or 'it was hedged'} at {timing.tier}"
        if timing.runtime != stage.runtime:
            return f"{timing.tier} used {timing.runtime} instead of {stage.runtime}"
    return ""
