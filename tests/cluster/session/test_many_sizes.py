"""Many input sizes in one session: answers right, and what is held stays what is kept."""

import gc
import weakref

import pytest
import torch
from inside_session import held_here, held_on_tiers, workload_of
from torch import nn

from edgesplit import Config, EdgeSplit
from edgesplit.caller import exports, workloads
from edgesplit.cluster.session.session import Session
from edgesplit.errors import HeadroomError

KEPT, SIZES = 3, range(8, 8 + 12)


class AnySize(nn.Module):
    """Fully convolutional."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU6(), nn.Conv2d(8, 2, 1))

    def forward(self, x):
        return self.inner(x)


class OneSizeEach(AnySize):
    """Its answer is of the width as a number, so that each width needs an export of its own."""

    def forward(self, x):
        return self.inner(x) * float(x.shape[3])


@pytest.fixture
def counted(monkeypatch):
    """How often models are exported, programs loaded and layers timed."""
    counts = dict.fromkeys(("exports", "loads", "profiles"), 0)

    def count(owner, name, kind):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            counts[kind] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    count(exports, "export_snapshot", "exports")
    count(Session, "load", "loads")
    count(Session, "profile", "profiles")
    return counts


def held(split):
    return {**held_here(split), **{f"tiers: {k}": v for k, v in held_on_tiers(split).items()}}


@pytest.mark.parametrize(("kind", "n_exports"), [(AnySize, 1), (OneSizeEach, len(SIZES))])
def test_what_is_held_does_not_grow_with_the_sizes(kind, n_exports, counted, monkeypatch):
    monkeypatch.setattr(workloads, "WORKLOADS_KEPT", KEPT)
    monkeypatch.setattr(exports, "_MANY_EXPORTS", -1)
    model = kind().eval()
    with EdgeSplit(model, config=Config(runtimes=("torch",))) as split:
        after_some, gone = {}, []
        for number, size in enumerate(SIZES):
            x = torch.rand(1, 3, 8, size)
            with torch.no_grad():
                assert torch.equal(split.infer(x), model(x))
            gone.append(weakref.ref(workload_of(split)))
            if number == KEPT:  # the first one is given up by now
                after_some = held(split)
        assert held(split) == after_some
        assert after_some["workloads"] == KEPT
        assert after_some["tiers: checkpoints"] <= KEPT
        gc.collect()
        assert [size() is None for size in gone] == [True] * (len(SIZES) - KEPT) + [False] * KEPT
        assert len(split.records()) == len(SIZES)
    assert counted == {"exports": n_exports, "loads": n_exports, "profiles": 1}


def test_where_memory_is_short_older_sizes_go_first(monkeypatch):
    monkeypatch.setattr(workloads, "KEPT_WHEN_SHORT", 1)
    model = AnySize().eval()
    with EdgeSplit(model, config=Config(runtimes=("torch",))) as split:
        for size in (8, 9):
            split.infer(torch.rand(1, 3, 8, size))
        assert held_here(split)["workloads"] == 2
        monkeypatch.setattr(workloads, "headroom_bytes", lambda: -1)
        x = torch.rand(1, 3, 8, 10)
        with torch.no_grad():
            assert torch.equal(split.infer(x), model(x))
        assert held_here(split)["workloads"] == 1


def test_a_program_that_finds_no_room_has_older_ones_given_up_or_is_refused(monkeypatch):
    """Where there is but the latest, the error goes to the caller, and what runs goes on."""
    model, refusing = OneSizeEach().eval(), [0]
    load = Session.load

    def refused(self, *told):
        if refusing[0]:
            refusing[0] -= 1
            raise HeadroomError("this model would take 9 MB more memory")
        load(self, *told)

    monkeypatch.setattr(Session, "load", refused)
    first, second, third = (torch.rand(1, 3, 8, size) for size in (8, 9, 10))
    with EdgeSplit(model, config=Config(runtimes=("torch",))) as split, torch.no_grad():
        assert torch.equal(split.infer(first), model(first))
        refusing[0] = 1
        with pytest.raises(HeadroomError, match="9 MB"):
            split.infer(second)
        assert held_here(split)["workloads"] == 1
        for x in (first, second):
            assert torch.equal(split.infer(x), model(x))
        assert held_here(split)["workloads"] == 2
        refusing[0] = 1
        assert torch.equal(split.infer(third), model(third))
        assert held_here(split)["workloads"] == 2
