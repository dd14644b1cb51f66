"""Inputs that share memory: harmless where forward only reads, refused where it writes."""

import pytest
import torch
from split_law import same_bits
from torch import nn

from edgesplit.errors import InputError
from edgesplit.node.program.export.aliases import overlaps
from edgesplit.node.program.export.model import confirms, export
from edgesplit.node.program.export.snapshot import take_snapshot

BASE = torch.rand(4, 6)
ARRAY = torch.rand(4, 6).numpy()


class Writes(nn.Module):
    def forward(self, a, b):
        a.mul_(2)
        return a + b


class Reads(nn.Module):
    def forward(self, a, b):
        return a * 2 + b


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (BASE, BASE),
        (BASE, BASE.t().t()),
        (BASE[:, :4], BASE[:, 2:]),
        (BASE[1:], BASE[:3]),
        (BASE.bfloat16().view(torch.int16), None),
        (torch.from_numpy(ARRAY), torch.from_numpy(ARRAY)),
    ],
)
def test_refused_where_forward_writes(a, b):
    b = a if b is None else b
    with pytest.raises(InputError, match=r"share memory.*clone"):
        export(Writes(), (a, b))
    assert same_bits(run(export(Reads(), (a, b)), a, b), Reads()(a, b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (BASE, BASE.clone()),
        (BASE[:, :3], BASE[:, 3:]),
        (BASE[::2], BASE[1::2]),
        (BASE[:2], BASE[2:]),
    ],
)
def test_neighbours_are_no_matter(a, b):
    assert overlaps([a, b]) == ()
    before = a.clone()
    exported = export(Writes(), (a, b))
    assert same_bits(run(exported, a, b), Writes()(a.clone(), b.clone()))
    assert same_bits(a, before)


def test_known_for_inputs_that_come_later():
    snapshot = take_snapshot(Writes())
    exported = export(snapshot, (BASE, BASE.clone()))
    with pytest.raises(InputError, match="share memory"):
        confirms(exported, snapshot, (BASE, BASE))


def test_bfloat16():
    x = BASE.bfloat16()
    assert overlaps([x[:, :4], x[:, 2:]]) == ((0, 1),)
    assert overlaps([x[:, :3], x[:, 3:]]) == ()


def run(exported, *args):
    values = exported.program.segment(0, len(exported.program))(exported.flatten(args))
    return exported.unflatten(values)
