"""What codecs take: the fitted line, and the payloads that it is measured on."""

import pytest
import torch
from runtime_cases import case
from tiers import ServedHost

from edgesplit.core.payload_codec import USUAL_CODECS, CodecSpeed
from edgesplit.core.power import Power
from edgesplit.node.codec.speeds import fitted, last_cache_bytes, measure_codecs
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.coded_examples import coded_examples
from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.held_programs import HeldPrograms
from edgesplit.node.tier.measurements import Measurements
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.tier_workload import TierWorkload
from edgesplit.node.transport.tensor_form import payload_bytes
from edgesplit.node.transport.tensors import forms_of


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ([], (0, 0)),
        ([(100, 0.5)], (0, 0.005)),
        ([(100, 0.5), (100, 0.5)], (0, 0.005)),
        ([(0, 0.5)], (0, 0)),
        ([(100, 2.0), (200, 3.0), (400, 5.0)], (1.0, 0.01)),
        ([(100, 2.0), (200, 5.0)], (0.0, pytest.approx(0.0221, rel=0.02))),
        ([(100, 3.0), (200, 3.0), (400, 2.9)], (pytest.approx(2.966, rel=0.01), 0)),
    ],
)
def test_the_line_is_never_below_0(points, line):
    assert fitted(points) == pytest.approx(line)


def test_each_codec_is_measured_in_the_slots_that_are_given():
    slots = []

    def run_slot(run):
        slots.append(run)
        return run()

    payloads = {n: [torch.randn(1, 8, n, n), 7] for n in (16, 64)}
    found = measure_codecs(payloads, USUAL_CODECS, run_slot)
    assert tuple(speed.codec for speed in found) == USUAL_CODECS
    assert len(slots) >= 3 * 2 * len(USUAL_CODECS)
    for speed in found:
        large = payload_bytes(forms_of(payloads[64]))
        assert speed.cuts == (16, 64)
        assert speed.encode_s + large * speed.encode_s_per_byte > 0
        assert speed.decode_s + large * speed.decode_s_per_byte > 0
        assert speed.provenance == "measured"


@pytest.fixture
def workload():
    sample = case("UNet")
    engine = TorchEngine(sample.program, sample.workload.forms, 1)
    made = TierWorkload("w", engine, PreparedCache(1e9, 16))
    made.profile(sample.values, unslotted)
    return made


def test_payloads_are_what_layers_make_of_the_example(workload):
    payloads = coded_examples(workload, unslotted)
    sizes = [payload_bytes(forms_of(payload)) for payload in payloads.values()]
    graph_bytes = [payload_bytes(forms) for forms in workload.forms]
    assert sizes == [graph_bytes[cut] for cut in payloads]
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 1
    assert all(any(value.any() for value in payload) for payload in payloads.values())


def test_a_tier_measures_on_its_compute_thread(workload):
    meter = PowerModelMeter(Power(10.0, 5.0, 5.0, 1.0))
    with ServedHost(ServeSettings("end"), meter) as served:
        held = HeldPrograms(served.server, None)
        held.workloads["w"] = workload
        found = Measurements(served.server, held, served.address).codec_speeds("w", USUAL_CODECS)
        assert tuple(speed.codec for speed in found) == USUAL_CODECS
        assert served.compute.busy_s > 0


def test_speeds_are_slowed_as_layer_times_are(workload, monkeypatch):
    """Both are of the tier that is emulated: the planner adds them up."""
    one = CodecSpeed("zstd", 0.001, 1e-9, 0.002, 3e-9)
    monkeypatch.setattr(
        "edgesplit.node.tier.measurements.measure_codecs", lambda payloads, codecs, slot: (one,)
    )
    meter = PowerModelMeter(Power(10.0, 5.0, 5.0, 1.0))
    with ServedHost(ServeSettings("end"), meter) as served:
        served.server.emulate(TierEmulation(slowdown=4.0))
        held = HeldPrograms(served.server, None)
        held.workloads["w"] = workload
        [found] = Measurements(served.server, held, served.address).codec_speeds("w", ("zstd",))
    assert found == CodecSpeed("zstd", 0.004, 4e-9, 0.008, 12e-9)


def test_the_largest_cache_is_what_linux_says(tmp_path):
    assert last_cache_bytes(tmp_path) == 1 << 24
    for name, size in (("index0", "32K"), ("index3", "2048K"), ("index4", "strange")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text(f"{size}\n")
    assert last_cache_bytes(tmp_path) == 2 << 20
    (tmp_path / "index3" / "size").write_text("1048576K\n")
    assert last_cache_bytes(tmp_path) == 1 << 26
