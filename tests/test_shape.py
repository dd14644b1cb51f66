"""Who may import whom: `cli, api -> cluster -> node -> core`, also inside functions."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "edgesplit"
# A decision gets time, randomness and the world as arguments.
NOT_IN_CORE = {
    "asyncio", "io", "multiprocessing", "os", "pathlib", "random", "shutil", "signal", "socket",
    "subprocess", "tempfile", "threading", "time",
}  # fmt: skip
# Layers and what of edgesplit each may import; a layer may always import itself.
LAYERS = {
    "core": {"errors"},
    "node": {"core", "errors", "config"},
    "cluster": {"core", "node", "deploy", "errors", "config", "records"},
    "deploy": {"errors"},
    "testbed": {"deploy", "errors"},
}
# Heavy or special packages, and the only places (under edgesplit/) that may import them.
ONLY_IN = {
    "ray": ("cluster/",),
    "pandas": ("records.py",),
    "click": ("cli/",),
    "rich": ("cli/", "demo/"),
    "matplotlib": ("cli/", "demo/"),
}


def imported(tree):
    """(line, dotted module) of every import in a module, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level + (node.module or "")
            elif node.module == "edgesplit":
                yield from ((node.lineno, f"edgesplit.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def complaints(path, source):
    """What breaks the rules in `source`, were it the file edgesplit/`path`."""
    layer = path.split("/")[0] if "/" in path else ""
    return [
        f"edgesplit/{path}:{line}: {module}: {reason}"
        for line, module in imported(ast.parse(source))
        for reason in broken_rules(path, layer, module)
    ]


def broken_rules(path, layer, module):
    """The reasons why `module` may not be imported there."""
    if module.startswith("."):
        yield "write the full name"
        return
    top, *rest = module.split(".")
    if top in ("experiments", "tests"):
        yield "the product needs none of them"
    if top in ONLY_IN and not path.startswith(ONLY_IN[top]):
        yield f"only in {', '.join(ONLY_IN[top])}"
    if top == "edgesplit" and layer in LAYERS:
        allowed = LAYERS[layer] | {layer}
        if not rest or rest[0] not in allowed:
            yield f"{layer} may import {', '.join(sorted(allowed))}"
    if layer == "core" and top != "edgesplit":
        if top != "numpy" and top not in sys.stdlib_module_names:
            yield "core is numpy and the standard library"
        if top in NOT_IN_CORE or module.startswith("numpy.random"):
            yield "core has no clock, files, threads or chance of its own"


def calls_open(tree):
    """Lines that call the built-in open()."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
    ]


FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES)
def test_imports(path):
    assert complaints(path, (PACKAGE / path).read_text()) == []


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("core/")])
def test_core_opens_no_files(path):
    assert calls_open(ast.parse((PACKAGE / path).read_text())) == []


def test_there_is_something_to_check():
    assert "core/plan.py" in FILES
    assert "errors.py" in FILES


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/plan.py", "import torch"),
        ("core/plan.py", "import time"),
        ("core/plan.py", "def f():\n    from os import path"),
        ("core/plan.py", "if True:\n    import numpy.random"),
        ("core/plan.py", "from edgesplit.node import wire"),
        ("core/plan.py", "from edgesplit import node"),
        ("core/plan.py", "import edgesplit"),
        ("core/plan.py", "from . import graph"),
        ("node/serve.py", "def f():\n    import ray"),
        ("node/serve.py", "from edgesplit.cluster.actors import Segment"),
        ("node/serve.py", "from edgesplit import api"),
        ("node/serve.py", "import edgesplit.cli"),
        ("api.py", "from ray import init"),
        ("cluster/actors.py", "from edgesplit.api import EdgeSplit"),
        ("cluster/actors.py", "import pandas as pd"),
        ("api.py", "import click"),
        ("node/serve.py", "import rich.table"),
        ("cli/meters.py", "from experiments.shared import report"),
    ],
)
def test_the_checker_sees(path, source):
    assert len(complaints(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/plan.py", "import re\nimport numpy as np\nfrom edgesplit.core.graph import Graph"),
        ("core/plan.py", "from edgesplit.errors import PlanError\nfrom edgesplit.core import cost"),
        ("node/serve.py", "import time, torch, socket\nfrom edgesplit.core.plan import Plan"),
        ("cluster/actors.py", "import ray\nfrom edgesplit.node.wire import Frame"),
        ("cli/host.py", "import click, rich\nfrom edgesplit.api import EdgeSplit"),
        ("records.py", "import pandas"),
        ("demo/show.py", "import matplotlib, rich"),
    ],
)
def test_the_checker_lets_pass(path, source):
    assert complaints(path, source) == []


def test_the_checker_sees_open():
    assert calls_open(ast.parse("def f():\n    return open('x')")) == [2]
