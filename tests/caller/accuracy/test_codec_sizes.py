"""Sizes and efforts of codecs at each cut, of real payloads."""

import numpy as np
import pytest
import torch
from runtime_cases import case

from edgesplit.caller.accuracy.codec_sizes import codec_sizes
from edgesplit.core.graph import Graph
from edgesplit.node.codec.payload import coded_bytes
from edgesplit.node.transport.tensor_form import payload_bytes


@pytest.fixture
def of():
    sample = case("UNet")
    raw = tuple(payload_bytes(forms) for forms in sample.workload.forms)
    layers = sample.program.structure.layers
    names = tuple(str(number) for number in range(len(layers)))
    return sample, Graph("UNet", names, raw, (1,) * len(layers))


def test_bytes_are_means_over_examples_and_spread(of):
    sample, graph = of
    inputs = [sample.values, [torch.zeros_like(value) for value in sample.values]]
    (found,) = codec_sizes((sample.program, graph), inputs, ["zstd"], lambda run: run())
    each = [coded_bytes(values, "zstd") for values in inputs]
    assert found.payload_bytes[0] == np.mean(each)
    assert found.spread_bytes[0] == np.std(each)
    assert found.payload_bytes[-1] == float("inf")


def test_efforts_follow_what_is_timed_here(of, monkeypatch):
    sample, graph = of

    def timed(values, codec):
        size = coded_bytes(values, "as-is")
        factor = 3.0 if size == graph.payload_bytes[0] else 1.0
        return size / 2, 1.0 * factor * size, 1e-7  # decoding is too quick to be timed

    monkeypatch.setattr("edgesplit.caller.accuracy.codec_sizes.timed", timed)
    (found,) = codec_sizes((sample.program, graph), [sample.values], ["int8"], lambda run: run())
    encoding, decoding = zip(*found.effort, strict=True)
    others = {e for e, size in zip(encoding, graph.payload_bytes, strict=True)
              if size != graph.payload_bytes[0]}  # fmt: skip
    assert encoding[0] == pytest.approx(3 * np.mean(list(others)), rel=0.5)
    assert encoding[0] > 1.5 * max(others)
    assert set(decoding) == {1.0}
