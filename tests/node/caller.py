"""A caller of one tier, as EdgeSplit's calls are, without a session."""

import itertools
import time
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from tiers import Additions

from edgesplit.caller.active_workload import Route
from edgesplit.caller.local_fallback import LocalFallback
from edgesplit.caller.requests import PendingRequest, RequestContext, RequestSender
from edgesplit.core.hedge import HedgeBudget
from edgesplit.core.plan import parse_plan
from edgesplit.node.transport import tensors, wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.security import UNSECURED

X = torch.arange(12.0).reshape(3, 4)
BOUND_S = 20.0
PLAN = parse_plan("end:0-9")


class Whole(Additions):
    """The program as the caller has it."""

    def __len__(self):
        return 9


class Caller:
    """Asks one tier for the whole sum."""

    def __init__(self, address, program=None, credentials=UNSECURED, answer=None):
        self.address, self.client = address, Client(address, credentials=credentials)
        self.fallback = LocalFallback()
        exported = SimpleNamespace(program=program or Whole())
        shipped = SimpleNamespace(exported=exported)
        self._workload = SimpleNamespace(shipped=shipped, answer=answer)
        self._ids = itertools.count()
        self.budget, self.told = HedgeBudget(0.05), []

    def sender(self):
        shared = RequestContext(self._run_here, self._begin_here, self._told, self.budget)
        return RequestSender(lambda address: self.client, shared)

    def _run_here(self, program, values, timeout_s):
        return self.fallback.run(program, values, 1, timeout_s)

    def _begin_here(self, program, values):
        return self.fallback.begin(program, values, 1)

    def _told(self, pending, progress):
        self.told.append(progress)

    def pending(self, n=0, failover_after_s=0.3, timeout_s=BOUND_S, x=X, hedge=None):
        values, now_s = [x + n], time.perf_counter()
        specs, buffers = tensors.pack(values)
        hops, request_id = [wire.Hop("end", self.address, 0, 9)], f"r{next(self._ids)}"
        request = wire.Request(
            id=request_id, program="p", route=hops, at=0, timeout_s=timeout_s, values=specs
        )
        route = Route(PLAN, hops, failover_after_s, hedge)
        deadline_s = now_s + timeout_s
        return PendingRequest(
            request_id, request, buffers, values, self._workload, route, now_s, deadline_s, True
        )

    def infer(self, n=0, x=X, **more):
        """Why it was finished elsewhere, if it was; what came back is right."""
        return self.outcome(n, x, **more).why

    def outcome(self, n=0, x=X, **more):
        """What became of it, which is right."""
        with self.sender() as sender:
            pending = self.pending(n, x=x, **more)
            sender.send(pending)
            outcome = sender.receive(pending)
        assert torch.equal(outcome.values[0], x + n + 36)
        return outcome

    def close(self):
        self.client.close()
        self.fallback.close()


@contextmanager
def calling(address, program=None, credentials=UNSECURED, answer=None):
    caller = Caller(address, program, credentials, answer)
    try:
        yield caller
    finally:
        caller.close()
