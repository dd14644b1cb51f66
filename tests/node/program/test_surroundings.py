"""What torch is set to at the call: part of what an export holds for, set where a program runs."""

import threading

import pytest
import torch
from inside_node import set_run, set_switches
from split_law import broken_splits, same_bits
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from edgesplit.errors import InputError, RuntimeUnavailableError
from edgesplit.node.program.export.model import confirms, export
from edgesplit.node.program.export.snapshot import take_snapshot
from edgesplit.node.program.profiler import payload_forms
from edgesplit.node.program.shipping import pack, unpack
from edgesplit.node.program.surroundings import surroundings
from edgesplit.node.program.switches import USUAL, in_force, now
from edgesplit.node.runtime.torch_engine import TorchEngine


class Thirds(nn.Module):
    """Whole numbers become those of the default dtype; so does what is made without a dtype."""

    def forward(self, x):
        return x / 3 + torch.linspace(0.0, 1.0, x.shape[0]).unsqueeze(1), torch.ones(2)


class Looks(nn.Module):
    """forward looks whether there is autograd."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x) * 2 if torch.is_grad_enabled() else self.linear(x)


class Inner(nn.Module):
    """A part that goes without the caller's autocast."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            y = self.linear(x)
        return self.linear(y), y


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def run(exported, *args):
    values = exported.program.segment(0, len(exported.program))(exported.flatten(args))
    return exported.unflatten(values)


@pytest.mark.usefixtures("float64")
def test_default_dtype_travels_with_the_program():
    x = torch.randint(0, 9, (3, 4))
    exported, expected = export(Thirds(), (x,)), Thirds()(x)
    assert expected[0].dtype == torch.float64
    program = unpack(pack(exported.program))
    torch.set_default_dtype(torch.float32)  # as on a tier
    values = program.segment(0, len(program))(exported.flatten((x,)))
    assert same_bits(exported.unflatten(values), expected)
    assert torch.get_default_dtype() == torch.float32
    assert broken_splits(exported, (x,)) == []


def test_a_failing_program_leaves_the_process_as_it_was():
    before = now()
    wanted = (torch.float64, *before[1:])
    segment = export(nn.Linear(4, 4), (torch.rand(2, 4),)).program.segment(0, 1)
    set_switches(segment, wanted)
    with pytest.raises(RuntimeError, match="same dtype"):
        segment([torch.ones(2, 4).int()])
    assert now() == before


@pytest.mark.parametrize(
    "setting",
    [
        lambda: torch.backends.mkldnn.set_flags(_enabled=False),
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        lambda: torch.backends.cuda.enable_flash_sdp(False),
        lambda: torch.backends.nnpack.set_flags(False),
    ],
)
@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_other_switches_travel(setting):
    before = now()
    with in_force(before):
        setting()
        wanted = now()
        assert wanted != before
        exported = export(nn.Linear(4, 4), (torch.rand(2, 4),))
    assert now() == before
    assert unpack(pack(exported.program)).switches == wanted
    seen = []
    segment = exported.program.segment(0, 1)
    set_run(segment, lambda *values: seen.append(now()) or values)
    segment([torch.rand(2, 4)])
    assert seen == [wanted]


@pytest.mark.usefixtures("float64")
def test_only_eager_torch_follows_them():
    exported = export(nn.Linear(4, 4), (torch.rand(2, 4),))
    forms = payload_forms(exported.program, exported.flatten((torch.rand(2, 4),)))
    engine = TorchEngine(exported.program, forms, 1)
    assert engine.eager(0, 1)
    with pytest.raises(RuntimeUnavailableError, match=r"default dtype is torch\.float64"):
        engine.runtime("compile", None)


def test_autocast_is_written_into_the_program():
    model, x = Inner().eval(), torch.rand(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        exported, expected = export(model, (x,)), model(x)
        inside = run(exported, x)
    assert [y.dtype for y in expected] == [torch.bfloat16, torch.float32]
    assert same_bits(inside, expected)
    assert same_bits(run(exported, x), expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_forward_that_looks_for_autograd(mode):
    snapshot, x = take_snapshot(Looks()), torch.rand(2, 4)
    with mode():
        exported = export(snapshot, (x,))
        assert same_bits(run(exported, x), snapshot(x))
        assert confirms(exported, snapshot, (x,))
        has_grad = torch.is_grad_enabled()
    with torch.set_grad_enabled(not has_grad):
        assert not confirms(exported, snapshot, (x,))


def test_forward_that_does_not_look_needs_one_export():
    snapshot, x = take_snapshot(nn.Linear(4, 4)), torch.rand(2, 4)
    exported = export(snapshot, (x,))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert confirms(exported, snapshot, (x,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not confirms(exported, snapshot, (x,))
    with in_force((torch.float64, *now()[1:])):
        assert not confirms(exported, snapshot, (x,))


class Watching(TorchFunctionMode):
    """Sees every call of torch."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (Watching, "inside Watching"),
        (lambda: FlopCounterMode(display=False), "inside _FlopCounterMode"),
        (lambda: torch.device("meta"), "inside the default device meta"),
    ],
)
def test_what_no_tier_can_be_given(mode, words):
    with mode(), pytest.raises(InputError, match=rf"{words}.*call it outside"):
        surroundings()


def test_nor_can_a_transform():
    with pytest.raises(InputError, match="vmap"):
        torch.func.vmap(lambda x: (surroundings(), x)[1])(torch.rand(2, 3))


def test_they_are_those_of_the_calling_thread():
    found = []
    with torch.no_grad(), torch.device("cpu"):
        thread = threading.Thread(target=lambda: found.append(surroundings()))
        thread.start()
        thread.join(timeout=60)
        assert surroundings() != found[0]
    assert surroundings() == found[0]


def test_usual():
    assert now() == USUAL
