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
def test_a_compiled_range_gives_torch_s_payload_on_any_thread(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    sample = case("Laid")
    n, results = len(sample.program), []
    traced = counters["stats"]["unique_graphs"]
    runtime = CompiledRuntime(sample.workload, threads=1)
    prepared, reference = runtime.prepare(0, n), sample.program.segment(0, n)

    def run():
        torch.set_num_threads(2)
        results.append(compare(prepared, reference, sample.values))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    # Dynamo would trace again for a thread that has another number of threads.
    assert counters["stats"]["unique_graphs"] == traced
    assert results[0] < 1e-5


def test_without_a_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "")
    sample = case("DictResult")
    with pytest.raises(RuntimeUnavailableError, match=r"no C\+\+ compiler .* apt install"):
        CompiledRuntime(sample.workload, threads=1).prepare(0, 3)


@needs_compiler
@pytest.mark.parametrize("kind", ["writable", "link"])
def test_code_that_others_may_have_put_there_is_not_taken(tmp_path, monkeypatch, kind):
    folder = tmp_path / "cache"
    if kind == "link":
        (tmp_path / "real").mkdir()
        folder.symlink_to(tmp_path / "real")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
    assert "point TORCHINDUCTOR_CACHE_DIR to a folder of your own" in compiled.missing()
