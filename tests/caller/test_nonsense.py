"""Whatever is given to a public name is taken or refused at once, with an error of the project."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import edgesplit
from edgesplit import (
    Config,
    EdgeSplit,
    EdgeSplitError,
    Emulation,
    Goal,
    Graph,
    Link,
    LinkShape,
    Plan,
    Power,
    Preparation,
    Profile,
    Stage,
    Tier,
    decode_image,
    load_image,
    load_model,
    load_power,
    open_data,
    parse_plan,
    plan_along,
    read_image,
    with_preprocessing,
)
from edgesplit.caller.calls import CallOptions
from edgesplit.cluster.measure.calibrate import Blocks
from edgesplit.errors import ConfigError, InputError, UnknownNameError

NONSENSE = {
    "none": None, "negative": -1, "zero": 0, "fraction": 1.5, "nan": math.nan, "inf": math.inf,
    "minus inf": -math.inf, "huge": 10**400, "bool": True, "empty": "", "text": "x",
    "digits": "5", "bytes": b"x", "list": [], "of none": [None], "tuple": (), "mapping": {},
    "of objects": {None: None}, "object": object(), "complex": 2 + 1j, "function": len,
    "array": np.array([1.0, 2.0]), "numpy nan": np.float32("nan"), "tensor": torch.rand(2),
    "name": ("a",), "twice": ("a", "a"), "newline": "a\nb", "surrogate": "\udcff", "set": {1, 2},
}  # fmt: skip
POWER = Power(1.0, 1.0, 1.0, 1.0)
LINKS = (Link("a", "b", 0.0, 1.0), Link("b", "a", 0.0, 1.0))
TIERS = (Tier("a", (0.1,), POWER), Tier("b", (0.1,), POWER))
NUMBERS = {"zero", "fraction", "inf"}
# What is valid of all that, by the name of the parameter. None where a field may be left out.
TAKEN = {
    Config: {
        "tiers": {"name"}, "threads": {"none"}, "emulation": {"none"},
        "power_file": {"none", "empty", "text", "digits", "newline", "surrogate"},
        "meters": {"mapping"}, "runtimes": {"none", "mapping"}, "tolerance": {"zero"},
        "exact": {"bool"}, "interval_s": {"fraction"}, "timeout_s": {"fraction"},
        "start_timeout_s": {"fraction"}, "in_flight": set(), "max_frame_bytes": set(),
        "fallback": set(), "finish": {"none"}, "transport_security": set(),
    },
    Goal: {
        "end_energy": set(), "total_energy": set(), "latency": set(),
        "latency_limit_s": {"none", "fraction"}, "min_end_layers": {"zero", "huge"},
        "memory_bytes": {"mapping"}, "boundary": set(),
    },
    Emulation: {"slowdown": {"mapping"}, "links": {"none", "mapping"}},
    LinkShape: {"bytes_per_s": {"fraction", "inf"}, "latency_s": {"zero", "fraction"}},
    Stage: {
        "tier": {"text", "digits", "newline", "surrogate"}, "start": {"zero", "negative", "huge"},
        "stop": {"zero", "negative", "huge"}, "runtime": {"text", "digits"},
    },
    Plan: {"stages": set()},
    Power: {f"{phase}_w": {"zero", "fraction"}
            for phase in ("compute", "transmit", "receive", "wait")},
    Link: {
        "source": None, "target": None, "latency_s": {"zero", "fraction"},
        "bytes_per_s": {"fraction", "inf"},
    },
    Graph: {"layers": {"name"}, "payload_bytes": set(), "weight_bytes": set(),
            "macs": {"list", "tuple"}},
    Tier: {
        "name": {"text", "digits", "newline", "surrogate"},
        "layer_s": {"list", "tuple"}, "power": set(),
        "slowdown": {"fraction"}, "runtime": {"text", "digits"},
    },
    Profile: {"tiers": set(), "links": {"list", "tuple"}},
    CallOptions: {"plan": {"none", "empty", "text", "digits", "newline", "surrogate"},
           "timeout_s": {"none", "fraction"}},
    Preparation: {
        "size": {"none"}, "resize": {"none"}, "mean": {"none"}, "std": {"none"},
        "interpolation": set(),
    },
    Blocks: {"seconds": {"fraction"}, "rounds": set(), "settle_s": {"zero", "fraction"}},
}  # fmt: skip
VALID = {
    Config: {}, Goal: {}, Emulation: {}, LinkShape: {"bytes_per_s": 1.0},
    Stage: {"tier": "end", "start": 0, "stop": 1}, Plan: {"stages": (Stage("end", 0, 1),)},
    Power: dict.fromkeys(("compute_w", "transmit_w", "receive_w", "wait_w"), 1.0),
    Link: {"source": "a", "target": "b", "latency_s": 0.0, "bytes_per_s": 1.0},
    Graph: {"name": "g", "layers": ("a",), "payload_bytes": (1, 1), "weight_bytes": (1,)},
    Tier: {"name": "a", "layer_s": (0.1,), "power": POWER},
    Profile: {"tiers": TIERS, "links": LINKS}, CallOptions: {}, Preparation: {}, Blocks: {},
}  # fmt: skip
CASES = [
    (kind, name, given)
    for kind, names in TAKEN.items()
    for name, taken in names.items()
    for given in NONSENSE
    if taken is not None
]


def refused(call):
    """Whether an error of the project comes of it, with a message that says something."""
    try:
        call()
    except EdgeSplitError as error:
        return len(str(error)) > 20
    return False


@pytest.mark.parametrize(("kind", "name", "given"), CASES)
def test_a_field_is_valid_or_refused(kind, name, given):
    value = NONSENSE[given]
    is_refused = refused(lambda: kind(**{**VALID[kind], name: value}))
    assert is_refused == (given not in TAKEN[kind][name])


@pytest.mark.parametrize("kind", VALID)
def test_what_is_valid_is_taken(kind):
    kind(**VALID[kind])


def test_every_public_name_is_looked_at():
    others = {"load_image", "load_model", "load_power", "parse_plan", "plan_along", "EdgeSplit"}
    others |= {"decode_image", "read_image", "open_data", "with_preprocessing", "Preprocessing"}
    given = {"ALLOCATOR_ENV", "EMBEDDED_EMULATION", "IMAGENET_PREPARATION", "Explanation"}
    given |= {"Comparison", "Regret"}
    kinds = {kind.__name__ for kind in TAKEN}
    raised = {name for name in edgesplit.__all__ if name.endswith(("Error", "Warning"))}
    assert set(edgesplit.__all__) - raised == (kinds & set(edgesplit.__all__)) | others | given


@pytest.mark.parametrize("given", NONSENSE)
def test_functions_of_one_argument_refuse_it(given):
    value = NONSENSE[given]
    functions = (
        decode_image,
        load_image,
        read_image,
        load_model,
        load_power,
        open_data,
        parse_plan,
    )
    for function in (*functions, with_preprocessing):
        assert refused(lambda function=function: function(value)), function.__name__


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("goal", {"none"}),
        ("config", {"none"}),
        ("policy", {"function"}),
        ("address", {"none", "text", "digits", "newline", "surrogate"}),
        ("runtime", {"none", "mapping"}),
    ],
)
@pytest.mark.parametrize("given", NONSENSE)
def test_an_edgesplit_is_made_or_refused(name, taken, given):
    made = lambda: EdgeSplit(nn.Linear(2, 2), **{name: NONSENSE[given]})  # noqa: E731
    assert refused(made) == (given not in taken)


@pytest.mark.parametrize("given", NONSENSE)
def test_a_model_is_a_module(given):
    assert refused(lambda: EdgeSplit(NONSENSE[given]))


@pytest.mark.parametrize("given", NONSENSE)
def test_methods_refuse_before_anything_is_opened(given, monkeypatch):
    def no_cluster(*_):
        raise AssertionError("nonsense must be told before a cluster is started")

    monkeypatch.setattr("edgesplit.cluster.session.membership.connect", no_cluster)
    split, value = EdgeSplit(nn.Linear(2, 2)), NONSENSE[given]
    if given not in ("fraction",):
        assert refused(lambda: split.infer_within(value, torch.rand(1, 2)))
        assert refused(lambda: split.wait_for_runtimes(value))
        assert refused(lambda: split.wait_for_plan(value))
    if given not in ("fraction", "none"):
        assert refused(lambda: split.map([], timeout_s=value))
        assert refused(lambda: split.calibrate(value))
    if not isinstance(value, (str, type(None))):
        assert refused(lambda: split.infer_on(value, torch.rand(1, 2)))
        assert refused(lambda: split.map([], plan=value))
    if given not in ("negative", "zero", "fraction"):
        assert refused(lambda: split.records(since_s=value))
    assert refused(lambda: split.emulate(value))
    assert refused(lambda: split.set_goal(value))
    if not hasattr(value, "__iter__") or isinstance(value, (str, bytes, dict)):
        assert refused(lambda: split.map(value))
    split.close()


@pytest.mark.parametrize("seed", [-1, 1.5, "5", None, True, 1 << 64])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ConfigError, match="seed must be"):
        load_model("squeezenet1_1", seed=seed)


@pytest.mark.parametrize(
    ("route", "cuts"), [(("end",), (3,)), (("end", "edge"), ()), ((), ()), ((3, 4), (1,))]
)
def test_a_plan_along_what_is_no_route(route, cuts):
    assert refused(lambda: plan_along(route, cuts, 5))


def test_numpys_numbers_are_numbers():
    config = Config(in_flight=np.int64(3), timeout_s=np.float32(2.5), tolerance=np.float64(0.5))
    assert [type(v) for v in (config.in_flight, config.timeout_s, config.tolerance)] == [
        int, float, float
    ]  # fmt: skip
    goal = Goal(np.float32(0.5), np.float32(0.25), np.float32(0.25), min_end_layers=np.int64(2))
    assert goal.min_end_layers == 2
    assert LinkShape(np.float32(1e6), np.float64(0)).bytes_per_s == 1e6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tiers": "end"}, "several names"),
        ({"tiers": ("end", "a b")}, "a tier's name is letters"),
        ({"tiers": ("x" * 129,)}, "128 at most"),
        ({"emulation": 3}, "emulation is an Emulation"),
        ({"emulation": Emulation({"moon": 2.0})}, "emulation: no tier 'moon'"),
        ({"emulation": Emulation({}, {("end", "moon"): LinkShape(1.0)})}, "no tier 'moon'"),
        ({"meters": {"end": "bogus"}}, "known are auto, model, rapl"),
        ({"meters": {"moon": "rapl"}}, "meters: no tier 'moon'"),
        ({"runtimes": "onnx"}, "use a tuple"),
        ({"runtimes": {"end": "onnx"}}, "several of torch"),
        ({"runtimes": {"end": ("tensorrt",)}}, "several of torch"),
        ({"in_flight": 1.5}, "in_flight must be a whole number from 1 to 65536, given 1.5"),
        ({"timeout_s": 1e7}, "at most 1e.06"),
        ({"threads": True}, "threads must be a whole number"),
        ({"tolerance": -1}, "from 0 to 1"),
    ],
)
def test_the_message_says_what_was_expected(given, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        Config(**given)


def test_what_a_config_holds_is_its_own(tmp_path):
    assert Config(tiers=["end", "cloud"]).tiers == ("end", "cloud")
    for name in ("rapl", "rapl:/host/sys", "nvml:0,1", "rapl+nvml", "hwmon-ina3221-rails",
                 "fixed:12", "battery-BAT0", "replay:a.csv"):  # fmt: skip
        assert Config(meters={"end": name}).meters["end"] == name
    with pytest.raises(ConfigError, match="cannot read the power file"):
        load_power(tmp_path)
    with pytest.raises(InputError, match="an iterable of inputs"):
        EdgeSplit(nn.Linear(2, 2)).map("abc")


def test_an_edgesplit_shows_what_it_is():
    split = EdgeSplit(nn.Linear(2, 2))
    assert repr(split) == "<EdgeSplit of Linear, not open yet>"
    split.close()
    assert repr(split) == "<EdgeSplit of Linear, closed>"
