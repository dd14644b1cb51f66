"""Plain values among the inputs are a part of the signature; what else stands there is named."""

import dataclasses
import enum

import numpy as np
import pytest
import torch
from torch import nn

from edgesplit.errors import ExportError, InputError
from edgesplit.node.program.export.model import export
from edgesplit.node.program.torchvision_ops import import_torchvision


def run(exported, *args, **kwargs):
    program = exported.program
    return exported.unflatten(program.segment(0, len(program))(exported.flatten(args, kwargs)))


class Options(nn.Module):
    """Computes what its plain arguments say."""

    def forward(self, x, scale=1.0, mode="plain", flag=False, more=None):
        if mode == "shifted":
            x = x + 1
        if flag:
            x = x.relu()
        if more:
            x = x * more["factors"][0]
        return x * scale


X = torch.randn(2, 3)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((2.5,), {}),
        ((3, "shifted", True, None), {}),
        ((), {"more": {"factors": (4, "unused")}}),
        ((-0.0,), {"mode": "tensor"}),
    ],
)
def test_plain_values_reach_the_model(args, kwargs):
    exported = export(Options(), (X, *args), kwargs)
    assert torch.equal(run(exported, X, *args, **kwargs), Options()(X, *args, **kwargs))


@pytest.mark.parametrize("value", [1, True, 1.0, "1", None, 0.0, -0.0, float("nan")], ids=repr)
def test_a_plain_value_is_accepted_by_value_and_type(value):
    class Takes(nn.Module):
        def forward(self, x, given):
            return x * 2

    exported = export(Takes(), (X, value))
    others = [1, True, 1.0, "1", None, 0.0, -0.0, float("nan"), X]
    accepted = [other for other in others if exported.accepts((X, other))]
    assert [(type(other), repr(other)) for other in accepted] == [(type(value), repr(value))]
    with pytest.raises(InputError, match=r"exported for .*, given float32\[2, 3\], 'another'"):
        exported.flatten((X, "another"))


@dataclasses.dataclass
class PendingRequest:
    """An input of two fields."""

    x: torch.Tensor
    scale: float = 2.0


def test_a_dataclass_is_taken_apart():
    class Takes(nn.Module):
        def forward(self, asked):
            return asked.x * asked.scale

    exported = export(Takes(), (PendingRequest(X),))
    assert torch.equal(run(exported, PendingRequest(X)), X * 2)
    assert not exported.accepts((PendingRequest(X, 3.0),))
    assert not exported.accepts((X,))


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Color.RED, "given Color .* Pass its .value"),
        (Level.LOW, "given Level .* Pass its .value"),
        (np.float64(2.0), r"given float64 .* Pass x.item\(\)"),
        (np.ones(3), r"given ndarray .* Pass torch.from_numpy\(x\)"),
        (torch.float32, "given dtype .* an attribute of the model"),
        (torch.device("cpu"), "given device .* an attribute of the model"),
        (slice(1), "given slice .* an attribute of the model"),
        (PendingRequest, "given type .* Pass an instance"),
        (b"bytes", "given bytes .* Make it a tensor"),
        (1j, "given complex .* Make it a tensor"),
        (torch.eye(3).to_sparse(), r"layout torch.sparse_coo; use x.to_dense\(\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_input_is_named_with_what_to_pass(value, words):
    with pytest.raises(InputError, match=words):
        export(Options(), (X, value))


class Packs(nn.Module):
    """Sizes depend on a tensor of lengths."""

    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return self.inner(packed)[0].data


class Longest(nn.Module):
    def forward(self, x, lengths):
        return x * (torch.arange(int(lengths.max()))[None] < lengths[:, None])[..., None]


@pytest.mark.parametrize(
    ("model", "words"), [(Packs(), "pack_padded_sequence"), (Longest(), "pass it as a plain int")]
)
def test_lengths_that_become_sizes_are_refused_with_what_to_do(model, words):
    with pytest.raises(ExportError, match=words):
        export(model, (torch.randn(2, 5, 3), torch.tensor([5, 4])))


def test_lengths_that_mask_are_inputs_as_any():
    class Masks(nn.Module):
        def forward(self, x, lengths):
            return x * (torch.arange(x.shape[1])[None] < lengths[:, None])[..., None]

    x, lengths = torch.randn(2, 5, 3), torch.tensor([5, 4])
    exported = export(Masks(), (x, lengths))
    for given in (lengths, torch.tensor([1, 2])):
        assert torch.equal(run(exported, x, given), Masks()(x, given))


class Boxes(nn.Module):
    """Picks boxes as torchvision's detection models do."""

    def forward(self, boxes, scores):
        is_kept = scores > 0.5
        kept = scores[is_kept]
        found = import_torchvision().ops.batched_nms(boxes[is_kept], kept, kept.long(), 0.5)
        return boxes[found]


def test_a_detection_model_is_refused_and_its_backbone_is_not():
    detection = import_torchvision().models.detection
    model = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    with pytest.raises(ExportError, match=r"split its backbone, EdgeSplit\(model.backbone\)"):
        export(model, ([torch.rand(3, 320, 320)],))
    with pytest.raises(ExportError, match=r"split its backbone, EdgeSplit\(model.backbone\)"):
        export(Boxes(), (torch.rand(6, 4), torch.rand(6)))
    x = torch.rand(1, 3, 64, 64)
    made, expected = run(export(model.backbone, (x,)), x), model.backbone(x)
    assert all(torch.equal(made[name], expected[name]) for name in expected)
