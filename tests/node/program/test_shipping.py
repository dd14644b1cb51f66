"""pack() and unpack(): the same program, bit for bit, in another process."""

import dataclasses
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import sample_models as samples
import torch
from split_law import same_bits
from torch import nn

from edgesplit.errors import ExportError, WireError
from edgesplit.node.program.export.model import export
from edgesplit.node.program.shipping import pack, unpack
from edgesplit.node.transport.arrays import BFLOAT16

RUN_ELSEWHERE = """
import pickle, sys, torch
from edgesplit.node.program.shipping import unpack
torch.set_num_threads(1)
for packed, x, cut in pickle.load(sys.stdin.buffer):
    program = unpack(packed)
    values = program.segment(0, cut)([torch.from_numpy(x)])
    values = program.segment(cut, len(program))(values)
    arrays = [v.numpy() if isinstance(v, torch.Tensor) else v for v in values]
    pickle.dump((program.fingerprint, program.layers, arrays), sys.stdout.buffer)
"""


def elsewhere(source, sent):
    """What a fresh process writes that runs `source` and reads `sent`."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        input=sent,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return io.BytesIO(done.stdout), done.stderr.decode()


@pytest.mark.usefixtures("one_thread")
def test_same_in_a_fresh_process():
    inputs = {
        samples.UNet: torch.randn(1, 3, 16, 16),
        samples.Control: torch.randn(2, 6),
        samples.Tied: torch.randint(0, 20, (1, 7)),
        samples.Several: torch.randn(3, 6),
    }
    programs = [export(make().eval(), (x,)).program for make, x in inputs.items()]
    pairs = list(zip(programs, inputs.values(), strict=True))
    sent = pickle.dumps([(pack(p), x.numpy(), len(p) // 2) for p, x in pairs])
    out, errors = elsewhere(RUN_ELSEWHERE, sent)
    assert errors == ""
    for program, x in pairs:
        fingerprint, layers, arrays = pickle.load(out)
        assert (fingerprint, layers) == (program.fingerprint, program.layers)
        values = program.segment(0, len(program))([x])
        expected = [v.numpy() if isinstance(v, torch.Tensor) else v for v in values]
        assert all(np.array_equal(a, b) for a, b in zip(arrays, expected, strict=True))


def test_tied_weights_travel_once():
    model = samples.Tied()
    packed = pack(export(model, (torch.randint(0, 20, (1, 7)),)).program)
    assert sum(array.nbytes for array in packed.storages) == (20 * 8 + 8 * 8 + 8) * 4


def test_folded_views_travel_once():
    class Transposed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 6))

        def forward(self, x):
            return x @ self.weight.t() + self.weight[2:4].sum() + x @ self.weight

    packed = pack(export(Transposed(), (torch.randn(2, 6),)).program)
    assert sorted(array.nbytes for array in packed.storages) == [4, 144]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_survive(dtype):
    x = torch.randn(2, 6).to(dtype)
    program = export(samples.SharedBuffer().to(dtype), (x,)).program
    loaded = unpack(pickle.loads(pickle.dumps(pack(program))))
    n = len(program)
    assert same_bits(loaded.segment(0, n)([x]), program.segment(0, n)([x]))
    assert [w.dtype for w in loaded.weights] == [w.dtype for w in program.weights]


def test_weights_go_out_of_band():
    packed = pack(export(nn.Linear(100, 100), (torch.randn(1, 100),)).program)
    buffers = []
    inside = pickle.dumps(packed, protocol=5, buffer_callback=buffers.append)
    assert len(inside) < 10_000
    assert sum(buffer.raw().nbytes for buffer in buffers) == (100 * 100 + 100) * 4


def test_read_only_arrays_are_used_in_place():
    packed = pack(export(nn.Linear(6, 6), (torch.randn(1, 6),)).program)
    for array in packed.storages:
        array.flags.writeable = False
    pointers = {array.ctypes.data for array in packed.storages}
    assert {weight.data_ptr() for weight in unpack(packed).weights} == pointers


def test_weights_as_arrays_are_the_programs_weights():
    """Views on shared storage, other strides, bfloat16 and plain numbers' tensors among them."""

    class Various(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(6, 6))
            self.scale = nn.Parameter(torch.randn(6).to(torch.bfloat16))
            self.filters = nn.Parameter(torch.randn(6, 2, 3).permute(2, 0, 1)[1])
            self.register_buffer("steps", torch.arange(12).reshape(2, 6)[1])

        def forward(self, x):
            y = x @ self.table.t() + self.table[2:4].sum() + self.steps
            return y * self.scale, y @ self.filters

    program = export(Various(), (torch.randn(2, 6),)).program
    packed = pack(program)
    found = packed.weights()
    assert [array.nbytes for array in found] == [w.nbytes for w in program.weights]
    for array, weight in zip(found, program.weights, strict=True):
        bits, expected = array, weight.detach()
        if array.dtype == BFLOAT16:
            bits, expected = array.view(np.int16), expected.view(torch.int16)
        assert bits.strides == expected.numpy().strides
        assert np.array_equal(bits, expected.numpy())
    assert {array.dtype == BFLOAT16 for array in found} == {True, False}


def test_two_programs_of_one_model_have_weights_of_the_same_names():
    model = nn.Linear(6, 6)
    one, two = (pack(export(model, (torch.randn(shape),)).program) for shape in ((1, 6), (1, 2, 6)))
    assert one.names == two.names


def test_changed_weights_are_others():
    program = export(nn.Linear(6, 6), (torch.randn(1, 6),)).program
    before = pack(program).names
    program.weights[0].data.add_(1)
    after = pack(program).names
    assert [a == b for a, b in zip(before, after, strict=True)].count(False) == 1


def test_another_program_is_refused():
    packed = pack(export(nn.Linear(6, 6), (torch.randn(1, 6),)).program)
    with pytest.raises(WireError, match="arrived as"):
        unpack(dataclasses.replace(packed, fingerprint="0" * 16))


def test_unknown_operator_is_refused():
    with torch.library._scoped_library("edgesplit_test", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
        torch.library.register_fake("edgesplit_test::twice", torch.empty_like, lib=library)

        class Custom(nn.Module):
            def forward(self, x):
                return torch.ops.edgesplit_test.twice(x) + 1

        packed = pack(export(Custom(), (torch.randn(2, 6),)).program)
        assert same_bits(unpack(packed).segment(0, 2)([torch.ones(1)]), [torch.tensor([3.0])])
    source = "import pickle, sys; from edgesplit.node.program.shipping import unpack\n"
    _, errors = elsewhere(source + "unpack(pickle.load(sys.stdin.buffer))", pickle.dumps(packed))
    assert ExportError.__name__ in errors
    assert "'edgesplit_test.twice.default' does not exist" in errors
