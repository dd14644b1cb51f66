"""Names and words: no two things share a name, and worn words stay out of what people read."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import edgesplit
from edgesplit.cli import main
from edgesplit.core.layer_times import TORCH
from edgesplit.node.meter.sensor.table import SENSORS
from edgesplit.node.runtime.table import RUNTIMES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "edgesplit"
# Types that mean the same wherever they stand, in layers that may not import each other.
SAME = {"Pair", "Floats"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def defined(source):
    """Names of the classes, and of the type aliases and variables, at the top of a module."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            yield from (name for name in names if is_type(name))


def is_type(name):
    """CapWords: constants are all capitals, functions all small."""
    return name[:1].isupper() and not name.isupper()


def collisions(sources):
    """{name: the modules that define it} of names that several do."""
    homes = defaultdict(list)
    for path, source in sources.items():
        for name in set(defined(source)):
            homes[name].append(path)
    return {name: paths for name, paths in homes.items() if len(paths) > 1 and name not in SAME}


def test_no_two_things_share_a_name():
    assert collisions({str(path): path.read_text() for path in PACKAGE.rglob("*.py")}) == {}


def test_a_collision_is_seen():
    sources = {"a.py": "class Plan: pass", "b.py": "Plan = dict[str, int]", "c.py": "PLAN = 1"}
    assert collisions(sources) == {"Plan": ["a.py", "b.py"]}


def test_public_names_are_defined_once():
    """A public name in the code means the public one."""
    homes = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in edgesplit.__all__:
                homes[node.name].append(path.relative_to(PACKAGE).as_posix())
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def named_elsewhere(names, sources, homes):
    """(module, string) of strings outside of `homes` that are a name, or begin with one."""
    is_name = re.compile(rf"(?:{'|'.join(map(re.escape, names))})(?:[:-]\S*)?")
    return [
        (path, word)
        for path, source in sources.items()
        if not path.startswith(homes)
        for _, word in messages(source)
        if is_name.fullmatch(word)
    ]


# Beside the tables: each runtime's and sensor's own file, and words that mean another thing there.
HOMES = ("node/runtime/table.py", "node/runtime/cuda.py", "node/runtime/compiled.py",
         "node/runtime/channels_last.py", "node/runtime/onnx", "node/meter/sensor/",
         "core/energy/sensor.py")  # fmt: skip


def test_runtimes_and_sensors_are_named_in_their_tables_only():
    """torch is core's own name: plans mean it where they name no runtime."""
    names = [name for name in (*RUNTIMES, *SENSORS) if name != TORCH]
    sources = {str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert named_elsewhere(names, sources, HOMES) == []


def test_a_name_elsewhere_is_seen():
    sources = {
        "a.py": 'if name.startswith("fixed:"): f("hwmon-ina3221", "such as onnx")',
        "b.py": '"""onnx"""\nRUNTIMES = ("onnx", "fixedly")',
        "home.py": '"onnx"',
    }
    found = named_elsewhere(["onnx", "fixed", "hwmon"], sources, ("home.py",))
    assert found == [("a.py", "fixed:"), ("a.py", "hwmon-ina3221"), ("b.py", "onnx")]


# Words that read badly, and private words that the field has other ones for (docs/design.md).
WORN = re.compile(
    r"\bwhoever\b|\bwhomever\b|\bfor ever\b|\b(do|does|did|done|doing) without\b|\blast resort\b"
    r"|\bpatience\b|\bkeeper\b|\bsurvey(s|ed)?\b|\brecipes?\b|\bparcels?\b|\btiers_away\b"
    r"|\bpursued?\b|\bfinish=|\bonly who\b",
    re.IGNORECASE,
)
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
OLD_NAMES = re.compile(
    r"`(pursue|tiers_away|Config\(finish=\.\.\.\))`"  # how a page names what was renamed
    r"|for pursue|for patience|for keeper"
    r"|^(pursue|tiers_away)\(\) is .*|^Config\(finish=\.\.\.\) is .*"
)


def worn(text):
    """The worn words of a text, in order; old names that are named as such do not count."""
    return [found[0] for found in WORN.finditer(OLD_NAMES.sub("", text))]


def messages(source):
    """(line, text) of every string of a module that is no docstring: errors, help, output."""
    tree = ast.parse(source)
    nodes = [node for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and node.body]
    docstrings = {id(n.body[0].value) for n in nodes if isinstance(n.body[0], ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.lineno, node.value


def helps(command):
    """(name, help text) of a command, its options, and all commands below it."""
    yield command.name, command.help or ""
    yield from ((f"{command.name} {p.name}", getattr(p, "help", "") or "") for p in command.params)
    for below in getattr(command, "commands", {}).values():
        yield from helps(below)


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_no_worn_words_in_prose(path):
    lines = enumerate(path.read_text().splitlines(), 1)
    assert [(number, word) for number, line in lines for word in worn(line)] == []


def test_no_worn_words_in_messages():
    found = [
        (f"{path.relative_to(ROOT)}:{line}", word)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in messages(path.read_text())
        for word in worn(text)
    ]
    assert found == []


def test_no_worn_words_in_help():
    assert [(name, word) for name, text in helps(main) for word in worn(text)] == []


def test_no_worn_words_in_public_docstrings():
    public = {name: getattr(edgesplit, name).__doc__ or "" for name in edgesplit.__all__}
    public |= {name: value.__doc__ or "" for name, value in vars(edgesplit.EdgeSplit).items()}
    assert {name: found for name, text in public.items() if (found := worn(text))} == {}


def test_a_worn_word_is_seen():
    assert worn("Whoever waits for ever can do without it: pursue `pursue`.") == [
        "Whoever",
        "for ever",
        "do without",
        "pursue",
    ]
    assert worn("for everything, without end; `tiers_away` is gone") == []
    source = 'def f():\n    """whoever"""\n    raise E(f"do without {x}")\n'
    assert [text for _, text in messages(source)] == ["do without "]
