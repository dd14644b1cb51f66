"""compile: one small range, since each takes seconds."""

import threading

import pytest
import torch
from runtime_cases import case
from torch._dynamo.utils import counters

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime import compiled
from edgesplit.node.runtime.check import compare
from edgesplit.node.runtime.compiled import CompiledRuntime

needs_compiler = pytest.mark.skipif(bool(compiled.missing()), reason=compiled.missing())


@needs_compiler
def test_compiled_ranges_give_torch_s_payload_on_any_thread(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    sample = case("Laid")
    n, results = len(sample.program), []
    traced = counters["stats"]["unique_graphs"]
    runtime = CompiledRuntime(sample.workload, threads=1)
    ranges = {cut: runtime.prepare(0, cut) for cut in (4, n)}

    def run():
        torch.set_num_threads(2)
        for cut, prepared in ranges.items():
            reference = sample.program.segment(0, cut)
            results.append(compare(prepared, reference, sample.values))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert len(results) == 2
    # Dynamo would trace again for a thread that has another number of threads.
    assert counters["stats"]["unique_graphs"] == traced
    assert max(results) < 1e-5


def test_without_a_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "")
    sample = case("DictResult")
    with pytest.raises(RuntimeUnavailableError, match=r"no C\+\+ compiler .* apt install"):
        CompiledRuntime(sample.workload, threads=1).prepare(0, 3)
