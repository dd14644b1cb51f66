"""Meters on the tiers of a labelled Ray cluster: read, calibrated, planned with; and refused."""

import json
import re
from pathlib import Path

import pytest
import ray
import torch
from inside_session import actor_of
from labelled_cluster import labelled_cluster
from rapl_device import BUSY_W, IDLE_W, RaplDevice

from edgesplit import Config, EdgeSplit
from edgesplit.cluster.measure.calibrate import Blocks
from edgesplit.cluster.measure.meter_conflicts import MeterWarning, meter_of, own_meters
from edgesplit.cluster.ray.placement import Placement
from edgesplit.core.energy.metering import Metering
from edgesplit.core.energy.request_energy import WITH_IDLE
from edgesplit.core.power import PHASES
from edgesplit.errors import MeterError, UnknownNameError
from experiments.shared.small_net import small_net

TIERS = ("end", "cloud")
PLAN = "end:0-8"
MEASURING = Path(__file__).parents[3] / "docs/measuring.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("calibrations")


@pytest.fixture(scope="module")
def cluster(folder):
    """Two nodes, whose actors keep calibrations in a file of the test's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGESPLIT_CALIBRATION", str(folder / "energy.json"))
        with labelled_cluster(*TIERS) as running:
            yield running


@pytest.fixture
def device(tmp_path):
    made = RaplDevice(tmp_path)
    yield made
    made.close()


def opened(cluster, device, **meters):
    """A session whose end tier reads the device, and the input it has seen."""
    named = {"end": f"rapl:{device.root}", **meters}
    split = EdgeSplit(
        small_net(),
        policy=PLAN,
        address=cluster.address,
        config=Config(tiers=TIERS, threads=1, meters=named),
    )
    return split, torch.randn(8, 3, 64, 64)


def follow(split, device):
    """The device is the machine of the end tier's process from now on; which process that is."""
    actor = actor_of(split, "end")
    pid = ray.get(actor.__ray_call__.remote(lambda actor: __import__("os").getpid()))
    device.follow(pid)
    return pid


def test_requests_and_windows_are_measured_and_say_so(cluster, device, capsys):
    split, x = opened(cluster, device)
    with split:
        split.infer(x)
        follow(split, device)
        with split.metered() as window:
            for _ in range(40):
                split.infer(x)
        (snippet,) = re.findall(r"^```python\n(.*?)^```", MEASURING.read_text(), re.DOTALL | re.M)
        exec(snippet, {"split": split, "inputs": [x]})
        record = split.last_record
        row = split.records().iloc[-1]
        text = str(split.explain())
    assert record.end_energy.kind == "measured"
    assert record.end_energy.scope == "cpu package"
    assert WITH_IDLE in record.end_energy.flags
    assert row["energy_scope"] == "cpu package"
    assert row["energy_source"] == "rapl"
    assert row["end_energy_k2_j"] > 0
    assert window.requests == 40
    end = window.tiers["end"]
    assert end.gross.kind == "measured"
    # Between idling all the time and being busy all the time.
    assert IDLE_W * end.seconds * 0.9 < end.gross.joules < 2 * (IDLE_W + BUSY_W) * end.seconds
    assert "no meter is read here" in window.unmetered["cloud"]
    assert end.phases["compute"].watts > 0, "the processor's time is told in steps of 10 ms"
    assert end.phases["compute"].n > 0
    assert end.sampling_share > 0
    printed = capsys.readouterr().out
    assert re.search(r"^1 requests\nend: .* in .* s, above idle", printed)
    assert re.search(r"reading the meter took .*% of a core", printed)
    assert "cloud: not measured: no meter is read here" in printed
    assert "no uncertainty known" in text


def calibrated(split, device):
    """What calibrate gives for both tiers, and what it said, once the tier was seen to compute.

    Others share the cores, and take them away for seconds: then it is asked again.
    """
    tried = []
    for _ in range(4):
        said = []
        watched = follow(split, device)
        end, cloud = split.calibrate(Blocks(0.5, 2, 0.1), said.append)
        assert end.problem == ""
        watts = dict(zip(PHASES, end.calibration.watts, strict=True))
        # One thread computes all the time, on a core of which a busy machine leaves it a part;
        # idling is idling.
        tried.append((watched, follow(split, device), watts))
        if (
            watts["idle"] + 0.1 * BUSY_W < watts["compute"]
            and watts["idle"] < IDLE_W + 0.15 * BUSY_W
        ):
            return end, cloud, watts, said
    raise AssertionError(f"process before, process after, watts: {tried}")


def test_calibrated_watts_are_kept_on_the_host_and_planned_with(cluster, device, folder):
    split, x = opened(cluster, device)
    with split:
        split.infer(x)
        end, cloud, watts, said = calibrated(split, device)
    assert cloud.calibration is None
    assert "cloud has no meter" in cloud.problem
    assert watts["compute"] < 2 * (IDLE_W + BUSY_W)
    # Sending over the loopback keeps threads on both ends busy, and may draw more than computing.
    assert watts["idle"] > 0.8 * IDLE_W
    assert watts["transmit"] > watts["idle"]
    assert end.calibration.blocks == 10
    assert any("compute, round 1" in text for text in said)
    kept = json.loads((folder / "energy.json").read_text())
    name = f"rapl:{device.root}"
    assert kept["phases"][name]["state"]["kernel"]

    split, x = opened(cluster, device)
    with split:
        y = split.infer(x)
        power = split.profile.tier("end").power
        explained = split.explain()
        assert torch.equal(y, split.infer_on("end:0-3 | cloud:3-8", x))
    assert power.compute_w == pytest.approx(watts["compute"])
    assert power.is_calibrated
    assert "calibrated with rapl" in explained.energy
    assert explained.running.end_energy_u_j > 0
    assert "±" in str(explained)


@pytest.mark.parametrize(
    ("meters", "message"),
    [
        ({"end": "rapl:/nowhere"}, r"meter 'rapl:/nowhere' cannot be used: no package zone"),
        ({"end": "fixed:many"}, r"'many' is no number"),
    ],
)
def test_a_named_meter_must_work(cluster, device, meters, message):
    split, x = opened(cluster, device, **meters)
    with split, pytest.raises(MeterError, match=message):
        split.infer(x)


def test_two_tiers_cannot_read_one_meter(cluster, device):
    split, x = opened(cluster, device, cloud=f"rapl:{device.root}")
    with split, pytest.raises(MeterError, match="tiers end and cloud would read one meter"):
        split.infer(x)


def test_found_by_itself_a_shared_meter_is_left_for_the_model():
    class Opened:
        covers = (("boot", "cpu package"),)
        metering = Metering("cpu package", "measured", "rapl", "rapl", covers)

    told = []
    with pytest.warns(MeterWarning, match="joules are modelled instead"):
        own_meters(dict.fromkeys(TIERS, Opened()), {}, lambda *said: told.append(said) or Opened())
    assert [tier for tier, _ in told] == list(TIERS)


def test_the_embedded_cluster_has_no_meter_of_a_tier():
    embedded = Placement(None, TIERS, True, {})
    assert meter_of("end", Config(), embedded) == "model"
    assert meter_of("end", Config(meters={"end": "fixed:12"}), embedded) == "fixed:12"
    with pytest.raises(MeterError, match="one machine plays all tiers"):
        meter_of("end", Config(meters={"end": "rapl"}), embedded)


def test_a_meter_of_an_unknown_tier_is_refused():
    with pytest.raises(UnknownNameError, match="meters: no tier 'fog'; known: end, edge, cloud"):
        Config(meters={"fog": "rapl"})
