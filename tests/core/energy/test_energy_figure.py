"""What a figure of energy says, how figures add up, which sources overlap, what a counter makes."""

import math
import pickle
from dataclasses import replace

import pytest

from edgesplit.core.energy.energy import Energy, total
from edgesplit.core.energy.reading import Counter, Counters, Reading
from edgesplit.core.energy.sensor import SensorInfo, check_disjoint, overlaps
from edgesplit.errors import MeterError

CPU = Energy(3.0, 0.03, "cpu package", "measured", "gross", "rapl")
INFO = SensorInfo("rapl", "cpu package", "counter", 1e-3, 0.0, 61e-6, 0.01, ("SSD",), "a test")


@pytest.mark.parametrize(
    ("joules", "u_j", "text"),
    [
        (3.0, 0.03, "3.000 ± 0.060 J"),
        (12.3456, 0.7, "12.3 ± 1.4 J"),
        (1234.5, 60.0, "1234 ± 120 J"),
        (3.14159, math.nan, "3.14 J"),
        (0.0, 0.02, "below resolution (under 0.04 J)"),
        (0.03, 0.02, "below resolution (under 0.07 J)"),
        (2.0, 0.0, "2 J"),
        (0.0, 0.0, "0 J"),
        (math.nan, math.nan, "not known (the meter failed)"),
    ],
)
def test_energy_text(joules, u_j, text):
    assert str(replace(CPU, joules=joules, u_j=u_j)) == text


def test_resolved_means_above_k2():
    assert replace(CPU, joules=2.01, u_j=1.0).is_resolved
    assert not replace(CPU, joules=2.0, u_j=1.0).is_resolved
    assert replace(CPU, u_j=math.nan).is_resolved
    assert not replace(CPU, joules=-3.0, u_j=1.0).is_resolved
    assert replace(CPU, joules=1.0, u_j=2.0).bound_j == 5.0
    assert replace(CPU, joules=-1.0, u_j=2.0).bound_j == 4.0


def test_json_holds_no_figure_that_does_not_stand_out():
    sure, unsure = CPU.as_dict(), replace(CPU, u_j=2.0).as_dict()
    assert (sure["joules"], sure["k2_j"], sure["below_j"]) == (3.0, 0.06, None)
    assert (unsure["joules"], unsure["k2_j"], unsure["below_j"]) == (None, 4.0, 7.0)
    assert replace(CPU, u_j=math.nan).as_dict()["k2_j"] is None


def test_describe_names_everything():
    text = replace(CPU, flags=("counter was reset",)).describe()
    for part in ("measured", "cpu package", "gross", "rapl", "k=2", "counter was reset"):
        assert part in text


def test_total_of_one_scope():
    both = total([CPU, replace(CPU, joules=4.0, u_j=0.04)])
    assert both.joules == 7.0
    assert both.u_j == pytest.approx(0.05)
    assert (both.scope, both.kind, both.provenance, both.flags) == (
        "cpu package", "measured", "rapl", (),
    )  # fmt: skip


def test_total_says_what_it_mixes():
    model = Energy(1.0, math.nan, "device", "modelled", "gross", "12 W", ("assumed",))
    both = total([CPU, model])
    assert (both.kind, both.scope) == ("measured and modelled", "cpu package + device")
    assert math.isnan(both.u_j)
    assert both.flags == ("assumed", "adds different scopes: cpu package, device")


def test_total_keeps_the_mix_of_one_part():
    mixed = replace(CPU, kind="measured and modelled")
    assert total([mixed]).kind == "measured and modelled"
    assert total([mixed, CPU]).kind == "measured and modelled"


@pytest.mark.parametrize("parts", [[], [CPU, replace(CPU, boundary="marginal")]])
def test_total_of_what_cannot_be_added(parts):
    with pytest.raises(MeterError, match="one boundary"):
        total(parts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scope": "gpus"}, "unknown scope 'gpus'"),
        ({"update_s": -1.0}, "must be finite, >= 0"),
        ({"averaging_s": math.inf}, "must be finite, >= 0"),
        ({"resolution": math.nan}, "must be finite, >= 0"),
    ],
)
def test_source_info_errors(change, said):
    with pytest.raises(MeterError, match=said):
        replace(INFO, **change)


def test_only_models_are_not_measured():
    assert [replace(INFO, kind=kind).is_measured for kind in ("counter", "power", "model")] == [
        True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ("cpu package", "cpu package", True),
        ("platform", "cpu package", True),
        ("board input", "board rails", True),
        ("wall", "gpu", True),
        ("device", "gpu", True),
        ("cpu package", "dram", False),
        ("cpu package", "gpu", False),
        ("platform", "gpu", False),
    ],
)
def test_overlaps(one, other, is_shared):
    assert overlaps(one, other) is overlaps(other, one) is is_shared


def test_overlapping_sources_are_not_added():
    psys = replace(INFO, id="psys", scope="platform")
    check_disjoint([INFO, replace(INFO, id="nvml", scope="gpu")])
    with pytest.raises(MeterError, match=r"psys \(platform\) and rapl \(cpu package\) overlap"):
        check_disjoint([psys, replace(INFO, id="nvml", scope="gpu"), INFO])


@pytest.mark.parametrize(
    "figures",
    [{}, {"joules": 1.0, "watts": 1.0}, {"joules": math.nan}, {"watts": math.inf}],
)
def test_a_reading_holds_one_finite_figure(figures):
    with pytest.raises(MeterError, match="finite joules or watts"):
        Reading(0.0, **figures)


def count(counter, *steps):
    """The counter after (raw_j, at_s) readings."""
    for raw_j, at_s in steps:
        counter = counter.advance(raw_j, at_s)
    return counter


def test_counter_wraps():
    counter = count(Counter(range_j=262144.0), (262140.0, 0.0), (262143.0, 1.0), (5.0, 2.0))
    assert (counter.total_j, counter.is_broken) == (9.0, False)


def test_counter_that_never_wraps_was_reset():
    counter = count(Counter(range_j=math.inf), (100.0, 0.0), (110.0, 1.0), (2.0, 2.0))
    assert (counter.total_j, counter.is_broken) == (10.0, True)
    assert count(counter, (5.0, 3.0)).total_j == 13.0
    assert not count(counter, (5.0, 3.0)).is_broken


def test_reset_is_not_a_wrap():
    # Would need 262,044 J in a second.
    counter = count(Counter(range_j=262144.0), (100.0, 0.0), (0.0, 1.0))
    assert (counter.total_j, counter.is_broken) == (0.0, True)


def test_silence_over_two_wraps_is_a_break():
    counter = count(Counter(range_j=1000.0, most_w=100.0), (10.0, 0.0), (20.0, 9.1))
    assert counter.is_broken
    assert not count(Counter(range_j=1000.0, most_w=100.0), (10.0, 0.0), (20.0, 8.9)).is_broken


def test_counters_read_together_are_one_reading():
    counters = Counters({"a": Counter(math.inf), "b": Counter(math.inf)})
    counters = counters.advance({"a": 5.0, "b": 7.0}, 0.0)
    assert counters.reading(0.0) == Reading(0.0, joules=0.0, parts={"a": 0.0, "b": 0.0})
    counters = counters.advance({"a": 6.0, "b": 9.0}, 1.0)
    assert counters.reading(1.0) == Reading(1.0, joules=3.0, parts={"a": 1.0, "b": 2.0})
    counters = counters.advance({"a": 7.0, "b": 0.0}, 2.0)  # b was reset
    parts = {"a": 2.0, "b": 2.0}
    assert counters.reading(2.0) == Reading(2.0, joules=4.0, parts=parts, is_break=True)


def test_counter_time_runs_forward():
    with pytest.raises(MeterError, match=r"at 1\.0 s comes after one at 2\.0 s"):
        count(Counter(range_j=10.0), (1.0, 2.0), (2.0, 1.0))


def test_meter_error_survives_pickling():
    error = pickle.loads(pickle.dumps(MeterError("no access", "chmod it")))
    assert (str(error), error.reason, error.fix) == ("no access; chmod it", "no access", "chmod it")
