"""Lengths, plain values, custom operators and denormals, through the embedded cluster's tiers."""

import sys
import warnings

import psutil
import pytest
import torch
from inside_session import count_workloads
from torch import nn

from edgesplit import Config, EdgeSplit
from edgesplit.caller import exports, workloads
from edgesplit.caller.exports import ManyExportsWarning
from edgesplit.errors import ConfigError, ExportError

EXACT = Config(exact=True)


class Words(nn.Module):
    """An embedding of 40 MB, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.tokens, self.inner = nn.Embedding(40_000, 256), nn.Linear(256, 8)

    def forward(self, tokens, scale=1.0):
        return self.inner(self.tokens(tokens)) * scale


def whole(model, *args):
    with torch.no_grad():
        return model(*args)


@pytest.fixture(scope="module")
def words():
    return Words().eval()


@pytest.fixture(scope="module")
def split(words):
    with EdgeSplit(words, config=EXACT) as running:
        yield running


def tiers_bytes():
    """Memory of the processes below this one that is theirs alone."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_full_info().uss for child in children)


def test_a_new_length_needs_no_export_ships_no_weights_and_needs_no_profile(
    split, words, monkeypatch
):
    split.infer(torch.randint(0, 40_000, (1, 5)))
    before = tiers_bytes()
    with monkeypatch.context() as patched:
        patched.delattr("edgesplit.cluster.session.session.Session.load")
        patched.delattr("edgesplit.cluster.session.session.Session.profile")
        patched.delattr("edgesplit.caller.exports.export_snapshot")
        for length in range(6, 12):
            tokens = torch.randint(0, 40_000, (1, length))
            assert torch.equal(split.infer(tokens), whole(words, tokens))
    assert split.profile.tiers[0].provenance.endswith("scaled to another size")
    assert tiers_bytes() - before < 20e6  # once the weights are 41 MB on each of three tiers


def test_plain_values_share_the_weights(split, words):
    tokens = torch.randint(0, 40_000, (1, 5))
    before = tiers_bytes()
    for scale in (2.0, 2, True):
        assert torch.equal(split.infer(tokens, scale), whole(words, tokens, scale))
    assert tiers_bytes() - before < 60e6  # three times the weights are 369 MB on three tiers


def test_the_workload_used_longest_ago_is_given_up_and_made_anew(split, words, monkeypatch):
    monkeypatch.setattr(workloads, "WORKLOADS_KEPT", count_workloads(split))
    first = torch.randint(0, 40_000, (1, 5))
    expected = split.infer(first)
    for length in range(20, 20 + workloads.WORKLOADS_KEPT):
        split.infer(torch.randint(0, 40_000, (1, length)))
    assert count_workloads(split) == workloads.WORKLOADS_KEPT
    assert torch.equal(split.infer(first), expected)
    assert torch.equal(split.infer_on("end:0-1 | cloud:1-3", first, 1.0), expected)


def test_a_value_that_is_another_each_time_is_warned_of(monkeypatch):
    monkeypatch.setattr(exports, "_MANY_EXPORTS", 2)

    class Scales(nn.Module):
        def forward(self, x, scale):
            return x * scale

    with EdgeSplit(Scales(), config=EXACT) as split:
        x = torch.ones(2)
        split.infer(x, 0.5)
        with pytest.warns(ManyExportsWarning, match="as tensors"):
            split.infer(x, 0.25)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ManyExportsWarning)
            assert torch.equal(split.infer(x, 0.125), x / 8)


OPERATORS = """
import torch


@torch.library.custom_op("edgesplit_inputs::tripled", mutates_args=())
def tripled(x: torch.Tensor) -> torch.Tensor:
    return x * 3


@tripled.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("edgesplit_inputs::add_to", mutates_args=("x",))
def add_to(x: torch.Tensor, more: float) -> None:
    x.add_(more)
"""


class Custom(nn.Module):
    """Operators of one's own: one that returns, one that writes."""

    def __init__(self, namespace="edgesplit_inputs"):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.namespace = namespace

    def forward(self, x):
        operators = getattr(torch.ops, self.namespace)
        y = self.inner(operators.tripled(x))
        operators.add_to(y, 2.0)
        return y * 2


@pytest.fixture(scope="module")
def operators(tmp_path_factory):
    """A module that only this process's sys.path leads to."""
    folder = tmp_path_factory.mktemp("operators")
    (folder / "edgesplit_test_operators.py").write_text(OPERATORS)
    others = OPERATORS.replace("edgesplit_inputs", "edgesplit_lacked")
    (folder / "edgesplit_lacked_operators.py").write_text(others)
    sys.path.append(str(folder))
    yield "edgesplit_test_operators"
    sys.path.remove(str(folder))


def test_custom_operators_run_on_every_tier(operators):
    model, x = Custom(), torch.randn(2, 4)
    with EdgeSplit(model, config=Config(imports=(operators,))) as split, warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = whole(model, x)  # opening has imported them here, too
        assert torch.equal(split.infer(x), expected)
        n = len(split.graph)
        for cut in range(n + 1):
            assert torch.equal(split.infer_on(f"end:0-{cut} | cloud:{cut}-{n}", x), expected)
        split.wait_for_runtimes()
        profile = split.profile
        assert all(runtimes == ("torch",) for runtimes in profile.offered.values())


def test_an_operator_that_tiers_lack_is_named_with_what_to_do(operators):
    """Not those that a session before has had imported: tiers serve all of them."""
    __import__("edgesplit_lacked_operators")
    words, model = r"edgesplit_lacked.*Config\(imports=", Custom("edgesplit_lacked")
    with EdgeSplit(model, config=EXACT) as split, pytest.raises(ExportError, match=words):
        split.infer(torch.randn(2, 4))


def test_a_module_that_cannot_be_imported_is_named_with_where_and_why():
    config = Config(imports=("edgesplit_no_such_module",))
    with pytest.raises(ConfigError, match="this process cannot import 'edgesplit_no_such_module'"):
        EdgeSplit(nn.Linear(2, 2), config=config).open()


def test_a_module_that_only_this_process_has_is_named_with_the_tier(tmp_path, monkeypatch):
    """It refuses to be imported a second time."""
    source = f"import pathlib\npathlib.Path({str(tmp_path / 'once')!r}).touch(exist_ok=False)\n"
    (tmp_path / "edgesplit_only_once.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = Config(imports=("edgesplit_only_once",))
    words = r"tier '.*' cannot import .*FileExistsError"
    with EdgeSplit(nn.Linear(2, 2), config=config) as split:
        x = torch.randn(1, 2)
        with pytest.raises(ConfigError, match=words):
            split.infer(x)


class Tiny(nn.Module):
    """Its values between are denormal."""

    def forward(self, x):
        return (x * 1e-39) * 1e38


@pytest.mark.parametrize("flushes", [None, True, False])
@pytest.mark.parametrize("here", [False, True])
def test_denormals_count_as_in_this_thread_or_as_the_config_says(flushes, here):
    x = torch.ones(3)
    is_set = torch.set_flush_denormal(here)
    assert is_set
    try:
        split = EdgeSplit(Tiny(), config=Config(exact=True, flush_denormals=flushes))
    finally:
        torch.set_flush_denormal(False)
    expected = torch.zeros(3) if (here if flushes is None else flushes) else x / 10
    with split:
        for plan in ("end:0-2", "end:0-1 | cloud:1-2", "end:0-0 | cloud:0-2"):
            assert torch.allclose(split.infer_on(plan, x), expected, rtol=1e-4)
