"""What a steady request passes: few files and few functions, so that it can be read in a sitting.

EdgeSplit.infer() itself, and three real tiers in this process over TLS, as hosts have them; a
profiler in every thread notes each Python function of the package that is called, generated ones
included. Not part of a request, and not here: Ray, the threads beside requests (they tell the
scheduler every 50 ms), and the watchdogs' (they look at a request that takes 50 ms or more).

    python -m pytest tests/caller/test_hot_path.py -s     prints the list
"""

import sys
import threading
from contextlib import ExitStack, contextmanager

import pytest
import torch
from inside_node import only_tcp
from inside_session import pretend_closed, pretend_open
from tiers import NAMES, ServedHost

from edgesplit import Config, EdgeSplit
from edgesplit.caller.active_workload import ActiveWorkload, ShippedProgram
from edgesplit.caller.call_arguments import CallArguments
from edgesplit.cluster.actors.workload import Activation
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.program.answer_form import answer_form
from edgesplit.node.program.export.model import export
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.profiler import graph_of, payload_forms
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.program.shipping import pack
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.tier_workload import TierWorkload
from edgesplit.node.transport.security import new_credentials
from experiments.shared.small_net import small_net

MOST_FILES, MOST_FUNCTIONS = 25, 116  # of the caller's thread; of all threads together:
MOST_FILES_OF_ALL, MOST_FUNCTIONS_OF_ALL = 45, 208  # 44, 202, and what a busy machine adds
WARMED, COUNTED = 5, 5  # requests
X = torch.rand(1, 3, 32, 32)


class Calls:
    """Notes the functions of edgesplit that are called while it is_on: the caller's, the tiers'.

    A comprehension counts as a part of the function that it stands in, as Python 3.12 has it.
    """

    def __init__(self):
        self.is_on, self._callers, self._tiers = False, set(), set()

    def __call__(self, frame, event, argument):
        module = frame.f_globals.get("__name__") or ""
        if self.is_on and event == "call" and module.startswith("edgesplit."):
            name, thread = _name_of(frame), threading.current_thread()
            if name is not None and "watchdog" not in thread.name:
                is_caller = thread is threading.main_thread()
                (self._callers if is_caller else self._tiers).add((module, name))

    @property
    def callers(self):
        """{module: functions} of the thread that asks."""
        return _by_file(self._callers)

    @property
    def all(self):
        """{module: functions} of all threads together."""
        return _by_file(self._callers | self._tiers)


def _name_of(frame):
    """None for a comprehension."""
    code = frame.f_code
    if code.co_name in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"):
        return None
    if code.co_filename == "<string>":  # written by dataclass
        return f"{type(next(iter(frame.f_locals.values()))).__name__}.{code.co_name}"
    return code.co_qualname


def _by_file(seen):
    files = {}
    for module, name in sorted(seen):
        files.setdefault(module, []).append(name)
    return files


def _size(by_file):
    return len(by_file), sum(map(len, by_file.values()))


@contextmanager
def profiled(calls):
    """In this thread, and in all that are started meanwhile."""
    threading.setprofile(calls)
    sys.setprofile(calls)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@contextmanager
def serving(programs, credentials):
    """The address of each tier, which holds that workload."""
    with ExitStack() as stack:
        servers = {}
        for name in NAMES:
            meter = PowerModelMeter(Power(10.0, 5.0, 5.0, 1.0))
            server = ServedHost(ServeSettings(name, credentials=credentials), meter)
            server.worker.programs["w"] = programs()
            servers[name] = stack.enter_context(server)
        yield {name: server.address for name, server in servers.items()}


@contextmanager
def opened():
    """An EdgeSplit that knows the input X, without a cluster; its requests take all three tiers."""
    model = small_net().eval()
    exported = export(model, (X,))
    program = exported.program
    payloads = payload_forms(program, exported.flatten((X,)))
    power, n = Power(10.0, 5.0, 5.0, 1.0), len(program)
    links = [Link(a, b, 0.001, 1e8) for a in NAMES for b in NAMES if a != b]
    profile = Profile(tuple(Tier(name, (0.001,) * n, power) for name in NAMES), tuple(links))

    def programs():
        return TierWorkload("w", TorchEngine(program, payloads, 1), PreparedCache(1e9, 16))

    credentials = new_credentials()
    with serving(programs, credentials) as addresses:
        split = EdgeSplit(model, config=Config(flush_denormals=False))
        workload = ActiveWorkload(
            "w",
            ShippedProgram(exported, DescribedProgram.of(pack(program)), "p"),
            graph_of("small", program, payloads),
            answer_form(program, payloads),
            profile,
            Goal(),
            addresses,
            fails_over=True,
        )
        plan = parse_plan(f"end:0-2 | edge:2-5 | cloud:5-{n}")
        workload.activate(Activation(1, plan, "first", 0.0, addresses))
        pretend_open(split, credentials, CallArguments((X,), {}), workload)
        try:
            yield split, model
        finally:
            pretend_closed(split)
            split.close()


@pytest.fixture(scope="module")
def counted():
    calls = Calls()
    with pytest.MonkeyPatch.context() as patch, profiled(calls), opened() as (split, model):
        only_tcp(patch)
        with torch.no_grad():
            expected = model(X)
        for _ in range(WARMED):
            assert torch.equal(split.infer(X), expected)
        calls.is_on = True
        for _ in range(COUNTED):
            split.infer(X)
        calls.is_on = False
        assert [t.tier for t in split.last_record.timings] == list(NAMES)
    return calls


def test_a_steady_request_passes_few_files_and_few_functions(counted):
    for who, by_file in (("the caller's thread", counted.callers), ("all threads", counted.all)):
        print("\n{}: {} files, {} functions".format(who, *_size(by_file)))
        for module, names in by_file.items():
            print(f"{len(names):4} {module}: {', '.join(names)}")
    files, functions = _size(counted.callers)
    assert (files <= MOST_FILES, functions <= MOST_FUNCTIONS) == (True, True), (files, functions)
    files, functions = _size(counted.all)
    assert files <= MOST_FILES_OF_ALL
    assert functions <= MOST_FUNCTIONS_OF_ALL


def test_the_count_sees_every_thread(counted):
    """The caller's; of a tier, what reads requests, computes, sends on and reads answers."""
    assert "EdgeSplit.infer" in counted.callers["edgesplit.caller.api"]
    assert "TlsStream.receive_into" in counted.callers["edgesplit.node.transport.tls_stream"]
    tiers = counted.all
    assert "Router.take" in tiers["edgesplit.node.tier.router"]
    assert "Segment.__call__" in tiers["edgesplit.node.program.segment"]
    assert {"Outbound.send_on", "Outbound.take_answer"} <= set(
        tiers["edgesplit.node.tier.outbound"]
    )
