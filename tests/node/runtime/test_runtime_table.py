"""The table of runtimes: one more line is offered, listed, checked and named wherever they are."""

import sys
from types import ModuleType

import click
import pytest
from click.testing import CliRunner
from runtime_cases import case

from edgesplit import Config
from edgesplit.cli.doctor import examine
from edgesplit.cli.installation import torch_here
from edgesplit.cli.options import runtime_option
from edgesplit.errors import RuntimeUnavailableError, UnknownNameError
from edgesplit.node.runtime.array_engine import ArrayEngine
from edgesplit.node.runtime.onnx_quantise import quantised
from edgesplit.node.runtime.table import RUNTIMES, KnownRuntime, without_torch
from edgesplit.node.runtime.torch_engine import TorchEngine


class MadeUpRuntime:
    name = "made-up"

    def __init__(self, threads):
        self.threads = threads


@pytest.fixture
def made_up(monkeypatch):
    """A runtime in a file of its own, by one line in the table; the file, which says it lacks a
    chip until `lack` is emptied."""
    file = ModuleType("made_up_runtime")
    file.lack = "no such chip; buy one"
    file.missing = lambda: file.lack
    file.make = lambda engine, graph: MadeUpRuntime(engine.threads)
    monkeypatch.setitem(sys.modules, file.__name__, file)
    line = KnownRuntime("made-up", file.__name__, "a chip", needs_torch=False, is_default=True)
    monkeypatch.setitem(RUNTIMES, line.name, line)
    return file


def engines():
    sample = case("DictResult")
    torch_engine = TorchEngine(sample.program, sample.workload.forms, 3)
    return [torch_engine, ArrayEngine(None, sample.workload.forms, 3)]


@pytest.mark.usefixtures("made_up")
def test_one_line_more_is_made_with_torch_and_without():
    assert [engine.runtime("made-up", None).threads for engine in engines()] == [3, 3]
    assert without_torch() == ("onnx", "onnx-int8", "made-up")


@pytest.mark.usefixtures("made_up")
def test_one_line_more_is_wanted_and_named_in_errors():
    assert Config().wanted_runtimes == ("torch", "onnx", "made-up")
    assert Config(runtimes=("made-up",)).leaves_torch_out
    with pytest.raises(
        UnknownNameError, match=r"onnx, onnx-int8, compile, cuda, made-up, for all tiers"
    ):
        Config(runtimes=("tensorrt",))
    with pytest.raises(
        RuntimeUnavailableError, match="run these layers in onnx or onnx-int8 or made-up, or"
    ):
        engines()[1].runtime("cuda", None)


def test_the_doctor_says_what_one_line_more_lacks(made_up):
    [check] = [check for check in examine() if check.name == "runtime made-up"]
    assert (check.mark, check.found, check.remedy) == ("advice", "no such chip; buy one", "a chip")
    made_up.lack = ""
    [check] = [check for check in examine() if check.name == "runtime made-up"]
    assert (check.mark, check.found) == ("ok", "can be used")


def test_a_host_without_torch_serves_in_what_it_has(made_up, monkeypatch):
    monkeypatch.setattr("edgesplit.cli.installation.has_torch", lambda: False)
    for package in ("onnx", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    is_ok, found = torch_here()
    assert not is_ok
    assert "no tier can be served: onnx and onnxruntime is not installed here; " in found
    assert found.endswith("no such chip; buy one")
    made_up.lack = ""
    assert torch_here() == (True, "not installed; this host can serve tiers in made-up")


@pytest.mark.usefixtures("made_up")
def test_one_line_more_is_an_option_of_commands():
    @click.command()
    @runtime_option("torch")
    def command(runtimes):
        click.echo(",".join(runtimes))

    invoke = CliRunner().invoke
    assert invoke(command, ["--runtime", "made-up"]).output == "made-up\n"
    assert "|cuda|made-up]" in invoke(command, ["--help"]).output
    refused = invoke(command, ["--runtime", "tensorrt"])
    assert refused.exit_code == 2
    assert "'made-up'" in refused.output


@pytest.mark.parametrize("name", ["torch", "made-up"])
def test_what_has_no_file_or_line_is_not_made(name):
    for engine in engines():
        with pytest.raises(RuntimeUnavailableError, match=f"'{name}' can be made|torch needs"):
            engine.runtime(name, None)


def test_each_runtime_calls_itself_as_the_table_does():
    sample = case("UNet")
    engine = TorchEngine(sample.program, sample.workload.forms, 1)
    graph = quantised(sample.graph, sample.program.weights, [sample.values])
    made = {name: engine.runtime(name, graph).name for name in RUNTIMES if name != "torch"}
    assert made == {name: name for name in made}
    assert len(made) == 5
