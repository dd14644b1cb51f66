"""cuda: the GPU's share where there is one, and everything around it everywhere."""

import pytest
import torch
from runtime_cases import MAKERS, case

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime import cuda
from edgesplit.node.runtime.check import compare
from edgesplit.node.runtime.cuda import CudaRuntime, module_on, on_device

WHY = cuda.missing()
on_gpu = pytest.mark.skipif(bool(WHY), reason=f"no GPU: {WHY}")
META = torch.device("meta")
# Their results decide what runs next, and on the device meta there are none.
NEEDS_VALUES = {"Control"}


@pytest.mark.skipif(not WHY, reason="there is a GPU here")
def test_without_a_gpu():
    sample = case("DictResult")
    with pytest.raises(RuntimeUnavailableError, match=r"layers 0-3 in cuda: .*; (install|check)"):
        CudaRuntime(sample.workload).prepare(0, 3)
    assert CudaRuntime(sample.workload).prepare(2, 2)(sample.payloads[2])


def test_what_is_created_on_the_cpu_is_created_on_the_device():
    layers = case("Positions").program.structure.layers
    created = [op.kwargs["device"] for layer in layers for op in layer.ops if "device" in op.kwargs]
    assert created == [torch.device("cpu")]
    moved = [op for layer in on_device(layers, META) for op in layer.ops]
    assert [op.kwargs["device"] for op in moved if "device" in op.kwargs] == [META]


@pytest.mark.parametrize("name", sorted(set(MAKERS) - NEEDS_VALUES))
def test_nothing_of_a_range_is_left_on_the_cpu(name):
    """On the device meta an operator with one argument from the CPU is an error."""
    sample = case(name)
    n = len(sample.program)
    for start, stop in ((0, n), (0, n // 2), (n // 2, n)):
        module, n_bytes = module_on(sample.workload, (start, stop), META)
        given = [v.to(META) if isinstance(v, torch.Tensor) else v for v in sample.payloads[start]]
        with torch.inference_mode():
            made = module(*given)
        numbers = sample.workload.made(start, stop)
        wanted = dict(zip(sample.program.live_values(stop), sample.payloads[stop], strict=True))
        for number, value in zip(numbers, made, strict=True):
            if isinstance(value, torch.Tensor):
                assert value.device == META
                assert (value.shape, value.dtype) == (wanted[number].shape, wanted[number].dtype)
        read = sample.workload.weights_read(start, stop)
        weights = [sample.program.weights[index] for index in read]
        assert n_bytes == sum(weight.nbytes for weight in weights)


@pytest.mark.parametrize("at", [1, 2])
def test_a_result_in_another_layout_is_read_right(at):
    """As kernels of a GPU leave them: here the device is the CPU, and the layout is given."""
    sample = case("Flat")
    module, _ = module_on(sample.workload, (at, len(sample.program)), torch.device("cpu"))
    [image] = [value for value in sample.payloads[at] if isinstance(value, torch.Tensor)]
    given = [
        value.contiguous(memory_format=torch.channels_last) if value is image else value
        for value in sample.payloads[at]
    ]
    with torch.inference_mode():
        assert compare(lambda _: module(*given), lambda _: sample.payloads[-1], ()) <= 1e-6


def test_tf32_is_off_inside_and_as_before_outside():
    before = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    with cuda.in_full_precision():
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


@on_gpu
@pytest.mark.parametrize("name", MAKERS)
def test_ranges_on_the_gpu(name):
    sample = case(name)
    n = len(sample.program)
    for start, stop in ((0, n), (0, n // 2), (n // 2, n)):
        prepared = CudaRuntime(sample.workload).prepare(start, stop)
        reference = sample.program.segment(start, stop)
        for _ in range(3):
            assert compare(prepared, reference, sample.payloads[start]) <= 1e-4


@on_gpu
def test_runs_on_the_gpu_do_not_share_their_results():
    sample = case("UNet")
    prepared = CudaRuntime(sample.workload).prepare(0, len(sample.program))
    first = prepared(sample.values)[0]
    copy = first.clone()
    prepared([sample.values[0] * 2])
    assert torch.equal(first, copy)
    assert first.device.type == "cpu"
