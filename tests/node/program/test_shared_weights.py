"""The caller's weights are the host's: the same bits, and one copy of them."""

import os
import subprocess
import sys

import pytest
import sample_models as samples
import torch
from split_law import same_bits
from torch import nn

from edgesplit.node.program.export.model import export_snapshot
from edgesplit.node.program.export.model_watch import ModelWatch
from edgesplit.node.program.export.shared_weights import on_shared_weights
from edgesplit.node.program.export.snapshot import take_snapshot
from edgesplit.node.program.host_programs import HostPrograms
from edgesplit.node.program.program_file import describe, encode_program
from edgesplit.node.program.shipping import pack
from edgesplit.node.program.store import ProgramStore

MODELS = {
    samples.UNet: torch.randn(1, 3, 16, 16),
    samples.Tied: torch.randint(0, 20, (1, 7)),
    samples.SharedBuffer: torch.randn(2, 6),
}


@pytest.fixture
def programs(tmp_path):
    return HostPrograms(ProgramStore(tmp_path / "cache"))


def kept(programs, program):
    packed = pack(program)
    storages = packed.by_name
    return programs.mapped(encode_program(describe(packed)), storages)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_all_is_as_before(model, programs):
    made, x = model().eval(), MODELS[model]
    snapshot = take_snapshot(made, "eval")
    program = export_snapshot(snapshot, (x,)).program
    before = {name: t.clone() for name, t in snapshot.state_dict(keep_vars=False).items()}
    payload = [x] if len(program.live_values(0)) else []
    whole = program.segment(0, len(program))(list(payload))
    shared = on_shared_weights(program, snapshot, kept(programs, program))
    assert shared.fingerprint == program.fingerprint
    assert same_bits(list(shared.weights), list(program.weights))
    assert same_bits(shared.segment(0, len(shared))(list(payload)), whole)
    after = snapshot.state_dict()
    assert same_bits(list(after.values()), list(before.values()))
    assert not ModelWatch(made, snapshot).look()
    exported = export_snapshot(snapshot, (x,))
    assert exported.program.fingerprint == program.fingerprint, "it can be exported again"


_FREED = """
import gc
import re
from pathlib import Path
import torch
from torch import nn
from edgesplit.node.program.export.model import export_snapshot
from edgesplit.node.program.export.shared_weights import on_shared_weights
from edgesplit.node.program.export.snapshot import take_snapshot
from edgesplit.node.program.host_programs import HostPrograms
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.program.shipping import pack

def private_bytes():
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"Anonymous: +([0-9]+) kB", text)[1]) * 1024

snapshot = take_snapshot(nn.Sequential(nn.Linear(4096, 4096), nn.ReLU()), "eval")
program = export_snapshot(snapshot, (torch.zeros(2, 4096),)).program
described = DescribedProgram.of(pack(program))
mapped = HostPrograms().mapped(described.description, described.packed.by_name)
del described
before = private_bytes()
program = on_shared_weights(program, snapshot, mapped)
gc.collect()  # an export leaves cycles, as in a session
there = {w.untyped_storage().data_ptr() for w in program.weights}
assert {p.untyped_storage().data_ptr() for p in snapshot.parameters()} <= there
print(before - private_bytes())
"""


def test_the_old_memory_is_free(tmp_path):
    """In a process of its own: what earlier tests hold or gave back is no part of it."""
    found = subprocess.run(
        [sys.executable, "-c", _FREED],
        env={**os.environ, "EDGESPLIT_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 60e6, "of 67 MB"


def test_a_write_to_the_snapshot_stays_its_own(programs):
    """Nothing writes to weights; what does all the same must not reach other processes."""
    snapshot = take_snapshot(nn.Sequential(nn.Linear(64, 64), nn.ReLU()), "eval")
    program = export_snapshot(snapshot, (torch.zeros(2, 64),)).program
    on_shared_weights(program, snapshot, kept(programs, program))
    before = kept(programs, program)
    with torch.no_grad():
        snapshot[0].weight.zero_()
    assert all(storage.any() for storage in before.storages)
