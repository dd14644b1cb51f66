"""The documentation is true: its code runs, its files, links, commands and figures exist."""

import configparser
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import pytest
from torch import nn

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

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


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
        return [f"make has no {word}" for word in rest if word not in targets]
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


def test_design_names_every_file_once_and_no_other():
    named = [cell.strip("`") for cell in first_cells(section(DESIGN.read_text(), "Files"))]
    package = ROOT / "edgesplit"
    there = [path.relative_to(package).as_posix() for path in package.rglob("*.py")]
    assert sorted(named) == sorted(there)


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
    assert first_cells("| a | b |\n|---|---|\n| `c` | d |\n") == ["`c`"]
    assert len(list(commands(README.read_text()))) >= 7


def test_the_ports_of_the_deployment_page_are_the_pinned_ones():
    cells = first_cells(section(DEPLOY.read_text(), "Ports"))
    pinned = [f"{p.first}" if p.first == p.last else f"{p.first}-{p.last}" for p in PORTS]
    assert cells == pinned
