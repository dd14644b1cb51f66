"""The documentation is true: its code runs, its files, links, commands and figures exist."""

import ast
import configparser
import doctest
import inspect
import io
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tokenize
import warnings
from dataclasses import fields
from pathlib import Path

import click
import pytest
import torch
from torch import nn

import edgesplit
from edgesplit import EMBEDDED_EMULATION, Config, EdgeSplit, Graph, Link, Profile, Tier, load_power
from edgesplit.cli import main
from edgesplit.core.control.state import Settings
from edgesplit.deploy.ports import PORTS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README, DESIGN = ROOT / "README.md", ROOT / "docs/design.md"
DEPLOY = ROOT / "docs/deploy.md"
DECISIONS, MEASURING = ROOT / "docs/decisions.md", ROOT / "docs/measuring.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
README_TIMEOUT_S = 120
DOCS = sorted((ROOT / "docs").rglob("*.md"))
# Files that an experiment or a reader writes.
MADE_BY_USERS = ["try.py", "experiments/NAME.py", "my-power.toml", "faults.csv"]

# What examples in docstrings may use without saying where it is from.
PUBLIC = {name: getattr(edgesplit, name) for name in edgesplit.__all__}
NAMES = {**PUBLIC, "torch": torch, "warnings": warnings}
DEPRECATED = {"pursue", "tiers_away"}  # their docstring names what to use instead

FOLDERS = ("edgesplit", "experiments", "tests", ".ci")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_PYTHON_FILE = re.compile(r"(?<![\w./-])(?:[\w-]+/)*[\w-]+\.py\b")


def blocks(text, language):
    """The code blocks in that language."""
    return [code for kind, code in _FENCE.findall(text) if kind == language]


def section(text, heading):
    """From a heading of the second level to the next one."""
    return re.split(r"^## ", text.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]


def first_cells(text):
    """The first column of every table, without its head."""
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    rules = [i for i, cell in enumerate(rows) if set(cell) == {"-"}]
    return [cell for i, cell in enumerate(rows) if i not in rules and i + 1 not in rules]


def anchors(text):
    """What `#...` may point to in a page, as GitHub makes it of the headings."""
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(text))
    return {title.replace(" ", "-") for title in kept}


def broken_links(text, folder):
    """Relative links and pictures of a page in `folder` that lead nowhere."""
    broken = []
    for link in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        path = folder / name
        page = path.read_text() if path.suffix == ".md" and path.exists() else text
        if not path.exists() or (anchor and anchor not in anchors(page)):
            broken.append(link)
    return broken


def missing_files(text, files):
    """Files that a page names in code and that are none: a whole path, or the end of one."""
    named = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|toml|csv))`", _FENCE.sub("", text))
    return [n for n in named if not any(f"/{path}".endswith(f"/{n}") for path in files)]


def tracked_files():
    folders = ("edgesplit", "experiments", "tests", "docs", ".ci")
    below = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    return [path.relative_to(ROOT).as_posix() for path in (*below, *ROOT.glob("*.*"))]


def commands(text):
    """Words of every command line in the page's code, without comments."""
    lines = [line for _, code in _FENCE.findall(text) for line in code.splitlines()]
    for code in [*lines, *_INLINE.findall(_FENCE.sub("", text))]:
        if re.match(r"(sudo )?(\.venv/bin/)?(edgesplit|make|python) ", code.strip()):
            words = shlex.split(code, comments=True)
            yield words[1:] if words[0] == "sudo" else words


def complaints(words):
    """What is wrong with one command line."""
    program, *rest = words
    if program.endswith("edgesplit"):
        name, command = "", main
        while isinstance(command, click.Group):
            if not rest or rest[0].startswith("-"):
                break
            word, *rest = rest
            name = f"{name} {word}".strip()
            command = command.commands.get(word)
        if command is None:
            return [f"edgesplit has no command {name}"]
        known = {opt for parameter in command.params for opt in parameter.opts} | {"--help"}
        own = rest[: rest.index("--")] if "--" in rest else rest  # what follows is another command
        given = [word for word in own if word.startswith("-")]
        return [f"edgesplit {name} has no {opt}" for opt in given if opt not in known]
    if program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return [f"make has no {word}" for word in rest if "=" not in word and word not in targets]
    modules = [word for word in rest if word.startswith("experiments.") and "NAME" not in word]
    missing = [m for m in modules if not any(path.exists() for path in run_as(m))]
    return [f"there is no {module}" for module in missing]


def run_as(module):
    """The files of which one is what `python -m` runs."""
    place = ROOT / module.replace(".", "/")
    return place.with_suffix(".py"), place / "__main__.py"


def run_bounded(code, folder):
    """(exit status, output) of a script in a process group of its own, ended with all it began."""
    (folder / "try.py").write_text(code)
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "try.py"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            output, _ = process.communicate(timeout=README_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


def documented():
    """(name, docstring) of public classes and functions, and of what an EdgeSplit offers."""
    for name, value in PUBLIC.items():
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value.__doc__ or ""
    for name, value in vars(EdgeSplit).items():
        if not name.startswith("_") and name not in DEPRECATED:
            yield f"EdgeSplit.{name}", value.__doc__ or ""


def complaints_of(name, docstring, names):
    """What the examples of a docstring get wrong, as doctest says it."""
    example = doctest.DocTestParser().get_doctest(docstring, names, name, None, 0)
    said = []
    with warnings.catch_warnings():
        doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    return "".join(said)


def needs_a_session(docstring):
    return re.search(r"\b(split|model)\b", docstring.partition("Example:")[2]) is not None


@pytest.mark.parametrize(("name", "docstring"), list(documented()), ids=lambda text: text[:40])
def test_a_public_name_has_an_example(name, docstring):
    assert re.search(r"^ *Example:\n +>>> ", docstring, re.MULTILINE), name


def test_examples_without_a_session_run(tmp_path, monkeypatch):
    (text,) = blocks(MEASURING.read_text(), "toml")
    (tmp_path / "power.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    told = {name: doc for name, doc in documented() if not needs_a_session(doc)}
    wrong = {name: complaints_of(name, doc, dict(NAMES)) for name, doc in told.items()}
    assert {name: text for name, text in wrong.items() if text} == {}
    assert len(told) >= 20


def test_examples_of_a_session_run(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("EDGESPLIT_NODE_ENV", str(tmp_path / "no.env"))
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    x = torch.rand(1, 4)
    told = {name: doc for name, doc in documented() if needs_a_session(doc)}
    with EdgeSplit(model) as split, torch.no_grad():
        split.infer(x)
        names = {**NAMES, "split": split, "model": model, "x": x}
        wrong = {name: complaints_of(name, doc, dict(names)) for name, doc in told.items()}
    assert {name: text for name, text in wrong.items() if text} == {}
    assert len(told) >= 20


def test_a_wrong_example_is_seen():
    assert "Expected:\n    3" in complaints_of("sum", ">>> 1 + 1\n3", {})
    assert complaints_of("sum", ">>> 1 + 1\n2", {}) == ""


def test_the_readmes_code_runs_as_it_is(tmp_path):
    (code,) = blocks(README.read_text(), "python")
    status, output = run_bounded(code, tmp_path)
    assert status == 0, output
    assert len(re.findall(r"^\d$", output, re.MULTILINE)) == 3, output
    assert re.search(r"^end:0-(8|\d.*-8)$", output, re.MULTILINE), output  # as was measured
    assert "limited by: " in output
    assert "end_energy_j" in output


def test_a_script_that_fails_is_seen(tmp_path):
    status, output = run_bounded("raise SystemExit('no')", tmp_path)
    assert (status, output) == (1, "no\n")


def test_the_policy_of_contributing_chooses_a_plan():
    (code,) = blocks(CONTRIBUTING.read_text(), "python")
    names = {"model": nn.Linear(4, 4)}
    exec(code, names)
    power = Config().power()["end"]
    links = (Link("end", "edge", 0.001, 1e6), Link("edge", "end", 0.001, 1e6))
    profile = Profile(tuple(Tier(name, (0.1,) * 4, power) for name in ("end", "edge")), links)
    graph = Graph("four", tuple("abcd"), (8,) * 5, (8,) * 4)
    assert str(names["halves"](graph, profile, None)) == "end:0-2 | edge:2-4"
    assert isinstance(names["split"], EdgeSplit)


def test_the_watts_of_measuring_are_a_power_file(tmp_path):
    (text,) = blocks(MEASURING.read_text(), "toml")
    path = tmp_path / "power.toml"
    path.write_text(text)
    assert load_power(path)["end"].compute_w > 0


def test_the_table_of_files_is_made_from_the_modules():
    made = runpy.run_path(str(ROOT / ".ci/files.py"))
    page = DESIGN.read_text()
    assert made["with_table"](page) == page, "run `make files`"


@pytest.mark.parametrize("path", sorted((ROOT / "edgesplit").rglob("*.py")), ids=str)
def test_a_module_begins_with_a_whole_sentence(path):
    first_line = runpy.run_path(str(ROOT / ".ci/files.py"))["first_line"]
    assert re.fullmatch(r"[A-Z`].*[.?]|\S.* .*[.?]", first_line(path)), first_line(path)


def test_design_gives_the_control_loops_defaults():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \|", DESIGN.read_text(), re.MULTILINE)
    told = {}
    for names, defaults in rows:
        for name, value in zip(names.split(", "), defaults.split(", "), strict=False):
            told[name.strip("`")] = value.strip()
    for field in fields(Settings):
        value = field.default
        assert told[field.name] in (f"{value:g} s", f"{100 * value:g} %"), field.name


def test_decisions_have_a_line_for_every_dependency():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    lines = "".join([setup["options"]["install_requires"], *extras.values()])
    needed = {re.match(r"[\w-]+", line)[0] for line in lines.split("\n") if line[:1].isalpha()}
    cells = first_cells(section(DECISIONS.read_text(), "Dependencies"))
    assert sorted(", ".join(cells).split(", ")) == sorted(needed - {"edgesplit"})


def test_a_device_needs_no_more_than_the_page_says():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    device = setup["options"]["install_requires"] + setup["options.extras_require"]["device"]
    names = [re.match(r"[\w-]+", line)[0] for line in device.split("\n") if line[:1].isalpha()]
    (told,) = re.findall(r"^The base has (.*), `full`", DECISIONS.read_text(), re.MULTILINE)
    assert re.split(r", | and |; the extra `device` adds ", told) == names


def test_watts_and_slowdowns_in_the_pages_are_the_defaults():
    watts = DECISIONS.read_text().split("**Default watts.**")[1].split("\n")[0]
    for power in Config().power().values():
        assert f" {power.compute_w:g} W" in watts
    for tier, factor in EMBEDDED_EMULATION.slowdown.items():
        assert f"{tier} {factor:g} x" in README.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert broken_links(page.read_text(), page.parent) == []


@pytest.mark.parametrize("page", [*DOCS, README, CONTRIBUTING], ids=lambda page: page.name)
def test_named_files_exist(page):
    assert missing_files(page.read_text(), MADE_BY_USERS + tracked_files()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    assert [
        complaint for words in commands(page.read_text()) for complaint in complaints(words)
    ] == []


def test_the_checkers_see():
    text = "# A b\n[a](no.md) ![b](no.png) [c](#a-b) [d](#no) [e](https://x.y) [f](README.md#no)"
    assert broken_links(text, ROOT) == ["no.md", "no.png", "#no", "README.md#no"]
    text = "`edgesplit sit`, `edgesplit demo --no`\n```\nmake no # x\npython -m experiments.x\n```"
    assert [complaints(words) for words in commands(text)] == [
        ["make has no no"],
        ["there is no experiments.x"],
        ["edgesplit has no command sit"],
        ["edgesplit demo has no --no"],
    ]
    assert missing_files("`a/b.py`, `b.py`, `c/b.py`, `d.py`", ["x/a/b.py"]) == ["c/b.py", "d.py"]
    assert first_cells("| a | b |\n|---|---|\n| `c` | d |\n") == ["`c`"]
    assert len(list(commands(README.read_text()))) >= 7


def test_the_ports_of_the_deployment_page_are_the_pinned_ones():
    cells = first_cells(section(DEPLOY.read_text(), "Ports"))
    pinned = [f"{p.first}" if p.first == p.last else f"{p.first}-{p.last}" for p in PORTS]
    assert cells == pinned


def prose(source):
    """A module's comments and docstrings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def strangers(text, files):
    """Python files that a text names and that are none of `files`, by the end of their path."""
    named = _PYTHON_FILE.findall(text)
    return [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)]


# A script of the reader's own, a name to fill in, and a file of Ray's.
NOT_OURS = {"try.py", "experiments/NAME.py", "ray/scripts/scripts.py"}


@pytest.mark.parametrize("page", [*PAGES, *SOURCES], ids=lambda page: str(page.relative_to(ROOT)))
def test_python_files_that_are_named_are_there(page):
    files = [path.relative_to(ROOT).as_posix() for path in SOURCES]
    texts = prose(page.read_text()) if page.suffix == ".py" else [page.read_text()]
    named = {name for text in texts for name in strangers(text, files)}
    assert named <= NOT_OURS


def test_a_python_file_that_is_not_there_is_seen():
    source = '"""See choose.py, meter/choose.py and rest.py."""\nx = "no.py"  # old/choose.py\n'
    files = ["edgesplit/node/meter/choose.py"]
    assert [s for text in prose(source) for s in strangers(text, files)] == [
        "rest.py",
        "old/choose.py",
    ]
