"""Whether denormals count as 0: in the thread that is told so, and in those that compute for it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from edgesplit.caller.local_fallback import LocalFallback
from edgesplit.node.program.export.model import export
from edgesplit.node.transport.tensors import flushes_denormals, settle

MANY = torch.ones(1_000_000)  # enough for torch to share the work among its threads


def made_denormal(threads, flushes):
    """How many of the elements are above 0, and whether the thread says that it flushes."""
    settle(threads, flushes)
    return int((MANY * 1e-39 > 0).sum()), flushes_denormals()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("flushes", [True, False])
def test_all_threads_that_compute_flush_or_none(threads, flushes):
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1) as pool:
        kept, says = pool.submit(made_denormal, threads, flushes).result()
    torch.set_num_threads(before)
    assert kept == (0 if flushes else len(MANY))
    assert says == flushes
    assert not flushes_denormals()  # here nothing has changed


class Tiny(torch.nn.Module):
    def forward(self, x):
        return (x * 1e-39) * 1e38


@pytest.mark.parametrize("flushes", [True, False])
def test_the_last_resort_does_as_the_tiers(flushes):
    exported = export(Tiny(), (torch.ones(3),))
    resort = LocalFallback(flushes)
    (y,) = resort.run(exported.program, [torch.ones(3)], 1, 60.0)
    resort.close()
    assert torch.allclose(y, torch.zeros(3) if flushes else torch.full((3,), 0.1), rtol=1e-4)
