"""The calls of an EdgeSplit: arguments become requests, outcomes become results and history."""

import collections
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from edgesplit.active_workload import ActiveWorkload, Route
from edgesplit.cluster.session import Session
from edgesplit.cluster.watch import PlanWatch
from edgesplit.config import Config
from edgesplit.core.plan import Plan, parse_plan
from edgesplit.core.record import Finished
from edgesplit.errors import InputError
from edgesplit.history import History
from edgesplit.last_resort import LastResort
from edgesplit.node import tensors, wire
from edgesplit.node.client import Client
from edgesplit.requests import Asked, Outcome, Talk
from edgesplit.workloads import Given, Workloads


@dataclass(frozen=True)
class Wish:
    """What a call wants beside the result. plan None: the one in force; timeout_s None: config's.

    Raises InputError for a time limit that is none.
    """

    plan: Plan | str | None = None
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        given = self.timeout_s
        if given is None:
            return
        if not isinstance(given, (int, float)) or not 0 < given <= wire.LONGEST_TIMEOUT_S:
            raise InputError(
                f"timeout_s must be seconds above 0 and at most {wire.LONGEST_TIMEOUT_S:g}, "
                f"given {given!r}"
            )


class Calls:
    """Of one EdgeSplit, once it is open; several threads may call at once."""

    def __init__(
        self, session: Session, watch: PlanWatch, workloads: Workloads, config: Config
    ) -> None:
        self._session, self._watch = session, watch
        self._workloads, self._config = workloads, config
        self._ids = map(f"{id(self):x}-{{}}".format, itertools.count())
        self._last_resort = LastResort()
        self._clients: dict[str, Client] = {}
        self._is_closed = False
        self.history = History()

    def infer(self, wish: Wish, args: Any, kwargs: Mapping[str, Any]) -> Any:
        """One request."""
        given = Given(args, kwargs)
        workload = self._workloads.of(given)
        with self._talk() as talk:
            asked = self._asked(wish, given, workload)
            talk.send(asked)
            return self._result(asked, talk.receive(asked))

    def map(self, wish: Wish, batches: Iterable[Any]) -> Iterator[Any]:
        """One request per batch, several under way at once, in order."""
        waiting = collections.deque[Asked]()
        batches = iter(batches)
        first = Given(_arguments(next(batches)), {})
        with self._talk() as talk:
            for given in itertools.chain([first], (Given(_arguments(b), {}) for b in batches)):
                if len(waiting) >= self._config.in_flight:
                    asked = waiting.popleft()
                    yield self._result(asked, talk.receive(asked))
                waiting.append(self._asked(wish, given, self._workloads.of(given), is_kept=True))
                talk.send(waiting[-1])
            for asked in waiting:
                yield self._result(asked, talk.receive(asked))

    def close(self) -> None:
        """End the connections; what is under way ends in an error."""
        self._is_closed = True
        for client in list(self._clients.values()):
            client.close()
        self._last_resort.close()

    def _asked(
        self, wish: Wish, given: Given, workload: ActiveWorkload, is_kept: bool = False
    ) -> Asked:
        """is_kept: whoever gave the input may change it before the result is there."""
        route = self._route(wish.plan, workload)
        timeout_s = self._config.timeout_s if wish.timeout_s is None else wish.timeout_s
        values = workload.loaded.exported.payload(given.leaves)
        if is_kept and route.patience_s:
            values = [v.clone() if isinstance(v, torch.Tensor) else v for v in values]
        specs, buffers = tensors.pack(values)
        self._check_size(sum(buffer.nbytes for buffer in buffers))
        request_id = next(self._ids)
        request = wire.Request(
            id=request_id,
            program=workload.id,
            route=route.hops,
            at=0,
            timeout_s=timeout_s,
            values=specs,
        )
        deadline_s = time.perf_counter() + timeout_s
        is_telling = wish.plan is None
        return Asked(
            request_id,
            request,
            buffers,
            values,
            workload,
            route,
            given.at_s,
            deadline_s,
            is_telling,
        )

    def _route(self, plan: Plan | str | None, workload: ActiveWorkload) -> Route:
        if plan is None:
            return workload.route
        parsed = parse_plan(plan) if isinstance(plan, str) else plan
        if not isinstance(parsed, Plan):
            raise InputError(f"plan must be a Plan, given {plan!r}")
        parsed.check(workload.graph, workload.profile.names)
        return workload.along(parsed.check_runtimes(workload.profile.offered))

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self._config.max_frame_bytes:
            raise InputError(
                f"the input has {n_bytes} bytes, over the limit of {self._config.max_frame_bytes} "
                "per message; use smaller batches or raise Config(max_frame_bytes=...)"
            )

    def _result(self, asked: Asked, outcome: Outcome) -> Any:
        workload = asked.workload
        result = workload.loaded.exported.unflatten(outcome.values)
        latency_s = time.perf_counter() - asked.sent_s
        self.history.add(
            workload,
            Finished(
                asked.id,
                asked.sent_s - self.history.began_s,
                workload.graph.name,
                asked.route.plan,
                latency_s,
                outcome.samples,
                outcome.why,
            ),
        )
        if asked.is_telling:
            self._watch.finished(workload.id, outcome.samples)
        return result

    def _talk(self) -> Talk:
        return Talk(self._client, self._last_resort, self._session.threads(self._config.tiers[0]))

    def _client(self, address: str) -> Client:
        """Connections to who listens there."""
        client = self._clients.get(address)
        if client is None:
            made = Client(address, credentials=self._session.credentials)
            client = self._clients.setdefault(address, made)
            if self._is_closed:
                client.close()
        return client


def _arguments(batch: Any) -> tuple[Any, ...]:
    return batch if isinstance(batch, tuple) else (batch,)
