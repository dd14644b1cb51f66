"""Who may import whom: `cli, demo -> caller -> cluster -> node -> core`, also inside functions.

And which tests may look inside the product.
"""

import ast
import sys
from collections import Counter
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
    "cluster": {"core", "node", "deploy", "errors", "config"},
    "caller": {"core", "node", "cluster", "deploy", "errors", "config", "extras"},
    "demo": {"core", "node", "caller", "errors", "config"},
    "deploy": {"errors"},
    "testbed": {"deploy", "errors"},
}
# Rooms of a layer: each may import those before it, none after it. What stands in the layer's own
# folder beside them is the floor of all.
ROOMS = {
    "node": (
        "process",
        "picture",
        "transport",
        "codec",
        "program",
        "program/export",
        "runtime",
        "meter",
        "tier",
    ),
    "cluster": ("ray", "actors", "measure", "session"),
}
# Of its own layer, all that such a room may import beside itself.
LEAF_ROOMS = {"core/fleet": {"core/given"}}
# Heavy or special packages, and the only places (under edgesplit/) that may import them.
ONLY_IN = {
    "zstandard": ("node/codec/",),
    "lz4": ("node/codec/",),
    "ray": ("cluster/",),
    "pandas": ("caller/records.py",),
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
        if len(rest) > 1 and rest[0] == layer:
            yield from broken_order(layer, path, "/".join(rest))
            yield from broken_leaf(path, "/".join(rest))
    if layer == "core" and top != "edgesplit":
        if top != "numpy" and top not in sys.stdlib_module_names:
            yield "core is numpy and the standard library"
        if top in NOT_IN_CORE or module.startswith("numpy.random"):
            yield "core has no clock, files, threads or chance of its own"


def broken_order(layer, path, imported):
    """The reason why one room of `layer` may not import `imported` of another."""
    rooms = ROOMS.get(layer, ())
    here, there = (
        room_of(rooms, path.removeprefix(f"{layer}/")),
        room_of(rooms, imported[len(layer) + 1 :]),
    )
    if here is not None and there is not None and rooms.index(here) < rooms.index(there):
        yield f"{layer}/{here} comes before {layer}/{there}"


def broken_leaf(path, imported):
    """The reason why a room that all others build on may not import `imported`."""
    for room, allowed in LEAF_ROOMS.items():
        if path.startswith(f"{room}/") and not imported.startswith((f"{room}/", *allowed)):
            yield f"{room} may import {', '.join(sorted(allowed))}"


def room_of(rooms, path):
    """The innermost room that `path` is in; None where it is in none."""
    inside = [room for room in rooms if path == room or path.startswith(f"{room}/")]
    return max(inside, key=len, default=None)


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
    for layer, rooms in ROOMS.items():
        there = {path.removeprefix(f"{layer}/").rpartition("/")[0] for path in FILES}
        assert set(rooms) <= there, "a room that is gone is not ordered any more"


@pytest.mark.parametrize("layer", ROOMS)
def test_a_layer_with_rooms_has_nothing_beside_them(layer):
    flat = [path for path in FILES if path.startswith(f"{layer}/") and path.count("/") == 1]
    assert flat == [f"{layer}/__init__.py"]


def test_tests_mirror_the_rooms():
    """A test module stands in the folder of what it tests, or in one that holds several."""
    tests = Path(__file__).parent
    folders = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    rooms = {path.rpartition("/")[0] for path in FILES}
    assert folders - {"."} - {"experiments", "models"} <= rooms


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
        ("node/tier/serve.py", "def f():\n    import ray"),
        ("node/tier/serve.py", "from edgesplit.cluster import actors"),
        ("node/tier/serve.py", "from edgesplit import caller"),
        ("node/tier/serve.py", "import edgesplit.cli"),
        ("caller/api.py", "from ray import init"),
        ("cluster/actors/tier_actor.py", "from edgesplit.caller.api import EdgeSplit"),
        ("cluster/actors/tier_actor.py", "import pandas as pd"),
        ("caller/api.py", "import click"),
        ("node/tier/serve.py", "import rich.table"),
        ("cli/meters.py", "from experiments.shared import report"),
        ("core/fleet/pressure.py", "from edgesplit.core.goal import Goal"),
        ("node/program/ops.py", "from edgesplit.node.runtime import check"),
        ("node/program/ops.py", "from edgesplit.node.program.export import model"),
        (
            "node/program/ops.py",
            "def f():\n    from edgesplit.node.program.export.model import export",
        ),
        ("node/meter/rapl.py", "from edgesplit.node.tier.serve import SegmentServer"),
        ("cluster/ray/join.py", "from edgesplit.cluster.session.session import Session"),
    ],
)
def test_the_checker_sees(path, source):
    assert len(complaints(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/plan.py", "import re\nimport numpy as np\nfrom edgesplit.core.graph import Graph"),
        ("core/plan.py", "from edgesplit.errors import PlanError\nfrom edgesplit.core import cost"),
        ("node/tier/serve.py", "import time, torch, socket\nfrom edgesplit.core.plan import Plan"),
        (
            "cluster/actors/tier_actor.py",
            "import ray\nfrom edgesplit.node.transport.wire import Frame",
        ),
        ("cli/host.py", "import click, rich\nfrom edgesplit.caller.api import EdgeSplit"),
        ("caller/records.py", "import pandas"),
        ("demo/show.py", "import matplotlib, rich"),
        ("node/program/export/model.py", "from edgesplit.node.program.ops import find_op"),
        ("node/tier/serve.py", "from edgesplit.node.program.export.model import export"),
    ],
)
def test_the_checker_lets_pass(path, source):
    assert complaints(path, source) == []


def test_the_checker_sees_open():
    assert calls_open(ast.parse("def f():\n    return open('x')")) == [2]


TESTS = Path(__file__).parent
# The modules that know private names, so that a name that changes is changed at one place.
VIEWS = {"cluster/inside_session.py", "node/inside_node.py", "core/inside_planner.py"}
# Not the product's: torch has no public name for them, and os._exit is public for all its dash.
NOT_OURS = {"_check", "_exit", "_forward_hooks", "_scoped_library", "_version"}


def private_looks(source):
    """Lines that use another object's private attribute."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in ("self", "cls", "super()")
        and node.attr not in NOT_OURS
    ]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: path.name)
def test_only_views_look_inside(path):
    if path.relative_to(TESTS).as_posix() not in VIEWS:
        assert private_looks(path.read_text()) == []


def test_each_test_module_has_a_name_of_its_own():
    """Those without a package are imported by their file's name: of two, one would not be run."""
    count = Counter(path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, n in count.items() if n > 1 and name != "__init__.py"] == []


def test_the_views_are_there():
    assert all(private_looks((TESTS / path).read_text()) for path in VIEWS)


def test_the_checker_sees_a_look_inside():
    assert private_looks("split._session.close()") == ["1: split._session"]
    assert private_looks("self._a, cls._b, super()._c, module.__name__, os._exit(1)") == []
