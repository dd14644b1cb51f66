"""The command line without a cluster: help, usage, doctor, and a user's mistakes."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from torch import nn

from edgesplit.cli import main
from edgesplit.cli.doctor import Check, examine
from edgesplit.cli.splits import split_matrix
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import ALL_CODECS, ENTROPY_CODERS, NUMBER_FORMS, PICTURE
from edgesplit.core.plan import plan_along
from edgesplit.core.policies.policy import score
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

N = 30  # layers of the made-up model


def few():
    """A classifier of four classes."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))


@pytest.fixture
def invoke(monkeypatch):
    """Run a command line; starting or joining a cluster is an error here."""

    def no_cluster(*_):
        raise AssertionError("a user's mistake must be told before a cluster is started")

    monkeypatch.setattr("edgesplit.cluster.session.membership.connect", no_cluster)
    monkeypatch.setitem(sys.modules, "own_nets", SimpleNamespace(few=few))
    return lambda *arguments: CliRunner().invoke(main, arguments)


def command_names(command, name=()):
    """The words of every command and group."""
    yield name
    for word, below in getattr(command, "commands", {}).items():
        yield from command_names(below, (*name, word))


@pytest.mark.parametrize("command", list(command_names(main)), ids=" ".join)
def test_help_has_an_example(invoke, command):
    found = invoke(*command, "--help")
    assert found.exit_code == 0
    assert f"Example: {' '.join(('edgesplit', *command))} " in f"{found.output} ".replace("\n", " ")


def test_the_help_names_every_codec(invoke):
    found = " ".join(invoke("run", "--help").output.split())
    words = set(re.split(r"[\s,;:]+", found[found.index("--codec NAME") :]))
    alone = {*NUMBER_FORMS, *ENTROPY_CODERS, PICTURE}
    assert alone <= words
    assert {codec for codec in ALL_CODECS if "+" not in codec} == alone


MISTAKES = (
    "run alexnet missing.png --json",
    "run alexnet missing.png other.png",
    "run alexnet",
    "run alexnet cat.png --limit 3",
    "run alexnet cat.png --end-energy 0.9",
    "run alexnet cat.png --policy best",
    "run alexnet cat.png --codec gzip",
    "run alexnet cat.png --runtime none",
    "run alexnet cat.png --meter moon=rapl",
    "run alexnet cat.png --weights none.pt",
    "run alexnet cat.png --power none.toml",
    "run alexnet --data digitz",
    "run alexnet --data cifar10",
    "run alexnet --data digits --size 8 --resize 4",
    "run alexnet --data digits --std 0,0,0",
    "run alexnet --data digits --max-accuracy-loss 2",
    "plan alexnet --latency 3",
    "plan alexnet --policy moon-only",
)


def test_mistakes_are_told_before_torch_is_loaded():
    """That takes 5 s on a slow device."""
    code = (
        "import json, sys\nfrom click.testing import CliRunner\nfrom edgesplit.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    found = CliRunner().invoke(main, words.split())\n"
        "    assert found.exit_code in (1, 2), (words, found.output)\n"
        "    assert 'torch' not in sys.modules, words\n"
        "    assert not found.exception or isinstance(found.exception, SystemExit), words\n"
        "print('told')"
    )
    given = [sys.executable, "-c", code, json.dumps(MISTAKES)]
    ran = subprocess.run(given, capture_output=True, text=True, timeout=120)
    assert ran.stdout == "told\n", ran.stderr


def test_version(invoke):
    assert invoke("--version").output.startswith("edgesplit, version ")


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom edgesplit.cli import main\n"
        "try:\n    main(['plan', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({'torch', 'ray', 'pandas', 'matplotlib', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "[]", ran.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "mobilenet_v22"], "did you mean mobilenet_v2"),
        (["plan", "no.such:model"], "cannot import 'no.such'"),
        (["plan", ":x"], "cannot import ''"),
        (["plan", "..b:x"], "cannot import '..b'"),
        (["plan", "os:getenv"], "os:getenv'"),
        (["plan", "alexnet", "--input-shape", "1,3,99999999,99999999"], "no input of 1 x"),
        (["plan", "alexnet", "--end-energy", "0.9"], "weights must sum to 1"),
        (["plan", "alexnet", "--batch", "1000000000"], "over the limit of 268,435,456 per message"),
        (["plan", "alexnet", "--meter", "end=bogus"], "known are auto, model, rapl"),
        (["plan", "alexnet", "--meter", "moon=rapl"], "no tier 'moon'"),
        (["plan", "", "--json"], "a model is named by text"),
        (["plan", "alexnet", "--power", "."], "cannot read the power file"),
        (["demo", "--models", "alexnet,bogus"], "no model 'bogus'"),
        (["demo", "--out", "/proc/demo"], "cannot make the folder '/proc/demo'"),
        (
            ["meters", "--seconds", "1", "--meter", "fixed:1", "--out", "/proc/x.csv"],
            "cannot write",
        ),
        (["testbed", "--network", "1.2", "status"], "first three numbers of a private /24"),
        (["testbed", "--network", "8.8.8", "status"], "first three numbers of a private /24"),
        (["testbed", "--name", "\u00e9", "status"], "1 to 8 small letters or digits"),
        (["testbed", "shape", "end-end", "1MB/s"], "two hosts such as end-edge"),
        (["plan", "alexnet", "--input-shape", "1,3,x"], "--input-shape must be whole numbers"),
        (["plan", "alexnet", "--input-shape", "0,3"], "--input-shape must be whole numbers"),
        (["plan", "alexnet", "--image", "missing.png"], "no picture 'missing.png'"),
        (["plan", "alexnet", "--policy", "best"], "no policy 'best'"),
        (["plan", "alexnet", "--policy", "end:0-x"], "is not a plan"),
        (["plan", "alexnet", "--policy", "moon:0-20"], "no tier 'moon'"),
        (["plan", "alexnet", "--power", "missing.toml"], "cannot read the power file missing.toml"),
        (["run", "alexnet", "missing.png"], "no picture 'missing.png'"),
        (["run", "alexnet", __file__], "cannot be read as a picture"),
        (["run", "alexnet", "--data", "digitz"], "expected digits, photos, the folder of an"),
        (["run", "alexnet", "--data", __file__], "cannot be read as a video"),
        (["run", "alexnet", "--data", "cifar10:/none"], "expected cifar10:PATH"),
        (["run", "alexnet", "--data", "digits", "--size", "8", "--resize", "4"], "resize must be"),
        (["run", "alexnet", "--data", "digits", "--std", "1,0,1"], "std must be above 0"),
        (["run", "alexnet", "--data", "cifar10"], "write cifar10:PATH, where PATH is the folder"),
        (["run", "alexnet", "--data", "imagenet"], "write imagenet:PATH, where PATH is the folder"),
        (["run", "alexnet", "--data", "camera"], "write camera:0"),
        (
            ["run", "own_nets:few", "--data", "digits"],
            "10 classes, labels from 0 to 9, but the mod",
        ),
        (["demo", "--models", ","], "at least one model"),
    ],
)
def test_a_mistake_is_one_message(invoke, arguments, message):
    found = invoke(*arguments)
    assert found.exit_code == 1
    assert message in found.stderr
    assert found.stderr.startswith("edgesplit: ")
    assert found.stdout == ""
    assert "Traceback" not in found.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the pictures to classify, or --data TEXT"),
        (["cat.png", "--data", "digits"], "not both"),
        (["cat.png", "--limit", "3"], "--limit needs --data"),
        (["cat.png", "--as-layers", "all"], "--as-layers needs --data"),
        (["--data", "digits", "--mean", "a,b,c"], "expected three numbers"),
        (["--data", "digits", "--mean", "1,2"], "expected three numbers"),
        (["cat.png", "--codec", "gzip"], "no codec 'gzip'; there are zstd, lz4"),
        (["cat.png", "--weights", "none.pt"], "expected random, pretrained or the path of a"),
        (["--data", "digits", "--limit", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_of_run(invoke, arguments, message):
    found = invoke("run", "alexnet", *arguments)
    assert found.exit_code == 2
    assert message in found.stderr


def test_weights_that_are_no_state_dict(invoke, tmp_path):
    photo = tmp_path / "weights.pt"
    photo.write_text("not weights")
    found = invoke("plan", "alexnet", "--weights", str(photo))
    assert found.exit_code == 1
    assert "do not fit" in found.stderr


def test_a_folder_that_cannot_be_made(invoke, tmp_path):
    (tmp_path / "file").write_text("")
    found = invoke("demo", "--out", str(tmp_path / "file" / "demo"))
    assert found.exit_code == 1
    assert "cannot make the folder" in found.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "alexnet"],
        ["plan"],
        ["nonsense"],
        ["plan", "alexnet", "--batch", "0"],
        ["plan", "alexnet", "--boundary", "net"],
        ["demo", "--requests", "3"],
        *(
            ["plan", "alexnet", option, value]
            for option in ("--end-energy", "--total-energy", "--latency", "--latency-limit-ms")
            for value in ("-1", "nan", "inf", "-inf", "", "x", "1e999")
        ),
        ["plan", "alexnet", "--end-energy", "1.5"],
        ["plan", "alexnet", "--latency-limit-ms", "0"],
        ["plan", "alexnet", "--keep-layers", "-1"],
        ["plan", "alexnet", "--keep-layers", "1.5"],
        ["plan", "alexnet", "--batch", "x"],
        ["plan", "alexnet", "--max-pixels", "0"],
        ["plan", "alexnet", "--runtime", "tensorrt"],
        ["plan", "alexnet", "--transport-security", "ssl"],
        ["plan", "alexnet", "--meter", "bogus"],
        ["plan", "alexnet", "--meter", "end=rapl", "--meter", "end=model"],
        *(["calibrate", "--seconds", value] for value in ("0", "-5", "nan", "inf", "x")),
        *(["calibrate", "--rounds", value] for value in ("0", "-1", "1.5", "1e9")),
        *(["meters", "--seconds", value] for value in ("0", "-5", "nan", "inf", "x")),
        ["node", "init", "--tier", "end", "--head", "--cpus", "0"],
        ["node", "init", "--tier", "end", "--head", "--object-store-mb", "-1"],
        *(["testbed", "slow", "end", value] for value in ("0", "-1", "nan", "x")),
    ],
)
def test_wrong_usage(invoke, arguments):
    found = invoke(*arguments)
    assert found.exit_code == 2
    assert "Usage: " in found.stderr


def test_a_model_of_the_callers_folder(invoke, tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text("def tiny():\n    return 5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = invoke("plan", "my_models:tiny")
    assert "'my_models:tiny' returned int, not a torch.nn.Module" in found.stderr


def test_interrupted(invoke, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgesplit.cli.doctor.examine", interrupt)
    found = invoke("doctor")
    assert found.exit_code == 130
    assert found.stderr == "edgesplit: interrupted\n"


# Doctor


def test_doctor_looks_at_everything(invoke):
    found = invoke("doctor", "--json")
    told = json.loads(found.stdout)
    names = [check["name"] for check in told["checks"]]
    assert names == [check.name for check in examine()]
    assert found.exit_code == (0 if told["is_well"] else 1)
    power = next(check for check in told["checks"] if check["name"] == "power file")
    assert "watts where nothing is measured, from power.toml" in power["found"]
    assert any(name.startswith("meter") for name in names)


@pytest.mark.parametrize(
    ("check", "mark", "code"),
    [
        (Check("x", True, "here", "none"), "ok", 0),
        (Check("x", False, "gone", "bring it back"), "missing", 1),
        (Check("x", False, "slow", "bring it back", is_needed=False), "advice", 0),
    ],
)
def test_doctor_says_how_to_mend(invoke, monkeypatch, check, mark, code):
    monkeypatch.setattr("edgesplit.cli.doctor.examine", lambda _: [check])
    found = invoke("doctor")
    assert found.exit_code == code
    assert found.stdout.startswith(f"{mark:8} x: {check.found}")
    assert ("bring it back" in found.stdout) != check.is_ok


def test_doctor_survives_a_broken_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    check = next(check for check in examine() if check.name == "free memory")
    assert not check.is_ok
    assert "psutil" in check.found


def test_doctor_finds_a_temp_folder_too_long_for_sockets(monkeypatch, tmp_path):
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    check = next(check for check in examine() if check.name == "temporary folder")
    assert not check.is_ok


# The matrix S(i, j)


def dummy_payload(has_direct_link):
    rng = np.random.default_rng(3)
    payload = tuple(int(x) for x in rng.integers(1_000, 500_000, N + 1))
    graph = Graph("made-up", tuple(f"l{k}" for k in range(N)), payload, (1_000,) * N)
    shape = rng.uniform(0.5, 1.5, N) * 1e-3
    tiers = tuple(
        Tier(name, tuple(shape * slower), Power(watts, 5.0, 5.0, 2.0))
        for name, slower, watts in (("end", 5, 12.0), ("edge", 3, 30.0), ("cloud", 1, 45.0))
    )
    pairs = [("end", "edge"), ("edge", "cloud")] + [("end", "cloud")] * has_direct_link
    pairs += [(target, source) for source, target in pairs]
    return graph, Profile(tiers, tuple(Link(*pair, 1e-3, 40e6) for pair in pairs))


@pytest.mark.parametrize("has_direct_link", [False, True])
def test_the_matrix_is_the_cost_of_every_split(has_direct_link):
    graph, profile = dummy_payload(has_direct_link)
    limit_s = 0.9 * sum(profile.tiers[1].layer_s)
    goal = Goal(latency_limit_s=limit_s, min_end_layers=2, memory_bytes={"edge": 20_000})
    model = CostModel(graph, profile, goal)
    matrix = split_matrix(model, score(graph, profile, goal))
    for i in range(1, N):
        for j in range(i + 1, N):
            cost = model.cost(plan_along(["end", "edge", "cloud"], [i, j], N))
            assert matrix.score[i, j] == pytest.approx(cost.score)
            assert matrix.is_feasible[i, j] == cost.feasible
    feasible = np.where(matrix.is_feasible, matrix.score, np.inf)
    assert matrix.best == np.unravel_index(np.argmin(feasible), feasible.shape)


def test_the_matrix_prints_thinned_and_whole_as_json():
    graph, profile = dummy_payload(has_direct_link=False)
    goal = Goal(min_end_layers=2)
    matrix = split_matrix(CostModel(graph, profile, goal), score(graph, profile, goal))
    head, columns, *rows, _ = str(matrix).splitlines()
    assert head.startswith("S(i, j), 12 x 12 of 31 x 31 cuts")
    assert len(columns.split()) == 3 + 12
    assert [row.count(">") for row in rows].count(1) == 1
    assert rows[0].split()[0] == "0"
    assert rows[0].endswith("*"), "nothing kept on the end breaks the goal"
    whole = json.loads(json.dumps(matrix.as_dict(), allow_nan=False))
    assert len(whole["score"]) == N + 1
    assert whole["score"][5][4] is None
    assert whole["score"][5][6] == pytest.approx(matrix.score[5, 6], rel=1e-5)
