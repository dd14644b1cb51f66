"""What a tier holds: programs are loaded where there is room, and given up whole."""

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from edgesplit.errors import ClosedError, ExportError, HeadroomError
from edgesplit.node.process import headroom
from edgesplit.node.process.headroom import Memory
from edgesplit.node.program.export.model import export
from edgesplit.node.program.host_programs import HostPrograms
from edgesplit.node.program.profiler import payload_forms
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.program.shipping import pack
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.tier.held_programs import HeldPrograms
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.shared_programs import SharedPrograms

MIB = 2**20


@pytest.fixture
def shared(monkeypatch, tmp_path):
    """Of a host that keeps programs in an empty folder."""
    monkeypatch.setenv("EDGESPLIT_CACHE", str(tmp_path / "cache"))
    made = SharedPrograms()
    yield made
    made.close()


def of_a_session(shared, **settings):
    server = SimpleNamespace(
        settings=ServeSettings("end", **settings),
        worker=SimpleNamespace(programs={}, joint_sources={}),
    )
    return HeldPrograms(server, shared)


@pytest.fixture
def held(shared):
    made = of_a_session(shared)
    yield made
    made.close()


def free(monkeypatch, n_bytes):
    """So many bytes may be taken."""
    monkeypatch.setattr(
        headroom, "tightest_memory", lambda: Memory(1024 * MIB, n_bytes + int(0.07 * 1024 * MIB))
    )


def described(model, x):
    exported = export(model, (x,))
    return exported, DescribedProgram.of(pack(exported.program))


def kept(model, x):
    """On the tier's host, as its caller puts it there."""
    exported, program = described(model, x)
    HostPrograms().mapped(program.description, program.packed.by_name)
    return exported, program


def test_weights_that_find_no_room_are_refused_and_the_old_program_stays(held, monkeypatch):
    small, large = nn.Linear(8, 8), nn.Linear(1024, 1024)
    exported, old = kept(small, torch.rand(1, 8))
    held.load("old", old.name)
    _, new = kept(large, torch.rand(1, 1024))
    free(monkeypatch, 3 * MIB)
    words = r"this model would take 4 MB more memory; of 1074 MB here 78 MB can be had, and 75 MB"
    with pytest.raises(HeadroomError, match=words):
        held.load("new", new.name)
    x = torch.rand(1, 8)
    held.describe("w", "old", payload_forms(exported.program, [x]))
    assert torch.equal(held.workloads["w"].segment(0, 1)([x])[0], small(x))
    free(monkeypatch, 5 * MIB)
    assert held.load("new", new.name) == 1


def test_what_two_programs_share_needs_room_once(held, monkeypatch):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(1024, 1024)

        def forward(self, x):
            return self.inner(x) * float(x.shape[0])

    model = Scaled()
    _, first = kept(model, torch.rand(2, 1024))
    held.load("first", first.name)
    free(monkeypatch, 0)
    _, second = kept(model, torch.rand(3, 1024))
    assert second.name != first.name
    assert held.load("second", second.name)


def test_a_program_that_is_given_up_is_gone_although_load_froze_it(held):
    exported, program = kept(nn.Linear(8, 8), torch.rand(1, 8))
    held.load("p", program.name)
    held.describe("w", "p", payload_forms(exported.program, [torch.rand(1, 8)]))
    engine = held.workloads["w"].engine
    segment = weakref.ref(engine.eager(0, 1))
    gc.freeze()  # as the next load does
    del engine
    held.forget(("w",), ("p",))
    assert segment() is None
    gc.unfreeze()


def test_two_sessions_with_one_program_have_its_workload_once(shared):
    ann, ben = of_a_session(shared), of_a_session(shared)
    others = of_a_session(shared, exactness=Exactness(exact=True)), of_a_session(shared, threads=2)
    exported, program = kept(nn.Linear(8, 8), torch.rand(1, 8))
    for held in (ann, ben, *others):
        held.load("p", program.name)
        held.describe("w", "p", payload_forms(exported.program, [torch.rand(1, 8)]))
    workloads = [held.workloads["w"] for held in (ann, ben, *others)]
    assert workloads[0] is workloads[1]
    assert len(set(workloads)) == 3
    ann.workloads["w"].give_up("onnx", "wrong")
    assert [one.workload for one in ben.failures()] == ["w"]
    x = torch.rand(1, 8)
    made = workloads[1].segment(0, 1)([x])[0]
    engine = weakref.ref(workloads.pop(0).engine)
    ann.close()
    assert torch.equal(ben.workloads["w"].segment(0, 1)([x])[0], made)
    ben.describe("w", "p", payload_forms(exported.program, [x]))  # as after a restart
    assert ben.workloads["w"] is workloads[0]
    workloads.clear()
    ben.close()
    gc.collect()
    assert engine() is None
    for held in others:
        held.close()


def test_what_comes_after_a_session_has_ended_is_given_up_at_once(shared):
    """A program takes long to load, and its session may end meanwhile."""
    ann, ben = of_a_session(shared), of_a_session(shared)
    exported, program = kept(nn.Linear(8, 8), torch.rand(1, 8))
    forms = payload_forms(exported.program, [torch.rand(1, 8)])
    ben.load("p", program.name)
    ann.close()
    for late in (lambda: ann.load("p", program.name), lambda: ann.describe("w", "p", forms)):
        with pytest.raises(ClosedError, match="the session has ended"):
            late()
    ben.close()
    with pytest.raises(KeyError):  # nobody uses it any more
        shared.release(program.name)


def test_a_program_that_cannot_be_unpacked_is_not_in_use(shared, monkeypatch):
    _, program = kept(nn.Linear(8, 8), torch.rand(1, 8))
    used, done = [], []
    use, give_up = shared.programs.use, shared.programs.done
    monkeypatch.setattr(shared.programs, "use", lambda name: used.append(name) or use(name))
    monkeypatch.setattr(shared.programs, "done", lambda name: done.append(name) or give_up(name))

    def lacks(packed, key):
        raise ExportError("no operator my::own is registered here")

    with monkeypatch.context() as patch:
        patch.setattr("edgesplit.node.tier.shared_programs._engine_maker", lacks)
        for _ in range(3):
            with pytest.raises(ExportError):
                of_a_session(shared).load("p", program.name)
    assert used == done == [program.name] * 3
    assert of_a_session(shared).load("p", program.name)
