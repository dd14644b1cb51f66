"""Ctrl-C, or anything else raised at any moment of a request: the next ones are right, and soon.

The exception is raised by a trace function at the n-th place in the caller's own code where Python
itself would run a signal handler, for every n, so that no moment is left out: before the send,
within it, within a header, within a body.
"""

import dis
import gc
import sys
from contextlib import contextmanager

import pytest
import torch
from caller import BOUND_S, X, calling
from faults import Held, until
from inside_node import connections_of, count_idle, idle_channels_of, jobs_of
from tiers import tiers

from edgesplit.caller import requests
from edgesplit.node.transport import channel, client, connection, stream, tls_stream
from edgesplit.node.transport.security import UNSECURED, new_credentials

TRACED = {m.__file__ for m in (channel, client, connection, requests, stream, tls_stream)}
PATIENCE_S = 10.0  # after it a request whose frame was lost would be answered by another
# A socket that is interrupted while it connects is closed by whoever collects it.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


# After these CPython looks for signals (ceval.c, CHECK_EVAL_BREAKER).
LOOKS = {"RESUME", "JUMP_BACKWARD", "CALL", "CALL_KW", "CALL_FUNCTION_EX"}


class Interrupter:
    """Raises `error` in the traced code at the n-th such place, once."""

    def __init__(self, error, n):
        self.error, self.left, self.has_raised = error, n, False
        self._codes = {}

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename not in TRACED or self.has_raised:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        bytecode, handlers = self._codes.setdefault(frame.f_code, _code_of(frame.f_code))
        last = 0

        def within(frame, event, argument):
            nonlocal last
            if event == "opcode" and not self.has_raised:
                now = frame.f_lasti
                # Raised here it has to be caught as if the one before had raised it, as a handler's
                # exception is: the two differ where a `with` ends.
                if dis.opname[bytecode[last]] in LOOKS and handlers(last) == handlers(now):
                    self._count()
                last = now
            return within

        return within

    def _count(self):
        self.left -= 1
        if self.left < 0:
            self.has_raised = True
            raise self.error


def _code_of(code):
    entries = dis.Bytecode(code).exception_entries

    def handlers(offset):
        return [entry.target for entry in entries if entry.start <= offset < entry.end]

    return code.co_code, handlers


@contextmanager
def interrupted(error, n):
    before, interrupter = sys.gettrace(), Interrupter(error, n)
    sys.settrace(interrupter)
    try:
        yield interrupter
    except type(error):
        pass
    finally:
        sys.settrace(before)


def in_the_middle(run, after, step, error):
    """Interrupt run() at every step-th line, each time followed by after(); how many there were."""
    n = 0
    while True:
        with interrupted(error(), n) as interrupter:
            run()
        after()
        if not interrupter.has_raised:
            return n
        n += step


@pytest.fixture(params=[UNSECURED, new_credentials()], ids=["plain", "tls"])
def caller(request):
    with (
        tiers(credentials=request.param) as running,
        calling(running.addresses["end"], credentials=request.param) as made,
    ):
        made.tiers = running
        yield made
    gc.collect()  # whatever was interrupted hangs on its exception's frames


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize(("n_values", "step"), [(12, 1), (400_000, 11)], ids=["small", "large"])
def test_a_request_that_is_interrupted_spoils_none_after_it(caller, n_values, step, error):
    x = torch.arange(float(n_values))

    def infer():
        assert caller.infer(x=x, failover_after_s=PATIENCE_S) == ""

    def others():
        for n in range(2):
            assert caller.infer(n, failover_after_s=PATIENCE_S) == ""

    assert in_the_middle(infer, others, step, error) > 30
    until(lambda: not jobs_of(caller.tiers.servers["end"]))


def test_a_stream_of_requests_that_is_interrupted_spoils_none_after_it(caller):
    def stream_of():
        with caller.sender() as sender:
            waiting = [caller.pending(n, failover_after_s=PATIENCE_S) for n in range(3)]
            for pending in waiting:
                sender.send(pending)
            for n, pending in enumerate(waiting):
                assert torch.equal(sender.receive(pending).values[0], X + n + 36)

    def another():
        assert caller.infer(7, failover_after_s=PATIENCE_S) == ""

    assert in_the_middle(stream_of, another, 5, KeyboardInterrupt) > 100


def test_who_gives_up_leaves_no_answer_behind_for_the_next_one():
    """A generator that is closed in the middle: what is owed is not the next one's to wait for."""
    held = Held()
    with tiers(held) as running, calling(running.addresses["end"]) as caller:
        with caller.sender() as sender:
            for n in range(3):
                sender.send(caller.pending(n, failover_after_s=30.0))
            assert held.begun.acquire(timeout=BOUND_S)
        assert not count_idle(caller.client)
        held.go_on.set()
        assert caller.infer(5, failover_after_s=30.0) == ""
        until(lambda: not jobs_of(running.servers["end"]))
        assert count_idle(caller.client) == 1


def test_an_idle_channel_that_the_tier_has_closed_is_not_lent(caller):
    assert caller.infer(failover_after_s=PATIENCE_S) == ""
    for inbound in list(connections_of(caller.tiers.servers["end"])):
        inbound.close()
    (idle,) = idle_channels_of(caller.client)
    until(lambda: not idle.is_quiet())
    with caller.sender() as sender:
        pending = caller.pending(failover_after_s=PATIENCE_S)
        sender.send(pending)
        assert sender.receive(pending).why == ""
    assert not pending.has_reconnected
