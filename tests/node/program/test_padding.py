"""nn.TransformerEncoder with a padding mask answers as the model does, with and without grad."""

import contextlib

import pytest
import torch
from split_law import broken_splits, close
from torch import nn

from edgesplit.errors import ExportError
from edgesplit.node.program.export.model import confirms, export
from edgesplit.node.program.export.snapshot import take_snapshot

pytestmark = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
NONE = [[False] * 7, [False] * 7]
ENDS = [[False] * 7, [False] * 4 + [True] * 3]
MIDDLE = [[False] * 7, [True] * 2 + [False] * 5]
ALL = [[False] * 7, [True] * 7]


class Padded(nn.Module):
    """A classifier of sequences; without the zeros its answer is 0.28 off."""

    def __init__(self, kind=nn.TransformerEncoder, norm=False):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = kind(layer, 2, norm=nn.LayerNorm(16) if norm else None)
        self.out = nn.Linear(16, 3)

    def forward(self, x, padding):
        return self.out(self.encoder(x, src_key_padding_mask=padding).mean(1))


class OwnEncoder(nn.TransformerEncoder):
    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.rand(2, 7, 16)


def answer(exported, *args):
    values = exported.program.segment(0, len(exported.program))(exported.flatten(args))
    return exported.unflatten(values)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize(("first", "norm"), [(ENDS, True), (NONE, False)])
def test_answers_as_the_model(x, mode, first, norm):
    model = Padded(norm=norm).eval()
    with mode():
        exported = export(model, (x, torch.tensor(first)))
        for mask in (NONE, ENDS, MIDDLE, ALL):
            padding = torch.tensor(mask)
            expected = model(x, padding).nan_to_num(7.0)
            assert close(answer(exported, x, padding).nan_to_num(7.0), expected)


def test_is_the_same_however_it_is_cut(x):
    with torch.no_grad():
        args = (x, torch.tensor(ENDS))
        assert broken_splits(export(Padded().eval(), args), args) == []


def test_an_export_holds_for_one_of_both_answers(x):
    snapshot = take_snapshot(Padded().eval())
    args = (x, torch.tensor(NONE))  # nothing is hidden, so both answers are the same now
    with torch.no_grad():
        exported = export(snapshot, args)
        assert confirms(exported, snapshot, args)
    assert not confirms(exported, snapshot, args)


def test_an_encoder_that_cannot_be_rewritten(x):
    model, args = Padded(OwnEncoder).eval(), (x, torch.tensor(NONE))
    export(model, args)  # with grad it takes the usual way
    with torch.no_grad(), pytest.raises(ExportError, match=r"encoder .OwnEncoder.*enable_nested"):
        export(model, args)


@pytest.mark.parametrize("mode", [torch.no_grad, contextlib.nullcontext])
def test_float_mask(x, mode):
    model = Padded().eval()
    padding = torch.zeros(2, 7).masked_fill(torch.tensor(ENDS), float("-inf"))
    with mode():
        assert close(answer(export(model, (x, padding)), x, padding), model(x, padding))
