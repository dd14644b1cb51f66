"""requirements.lock holds what setup.cfg needs, whole, by exact versions within its ranges."""

import configparser
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text()
PIN = re.compile(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
PINS = {canonicalize_name(name): Version(version) for name, version, _ in PIN.findall(LOCK)}
(TORCH,) = re.findall(r"^TORCH := (torch==\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
WITHOUT_HASH = {"torch": Version(TORCH.partition("==")[2])}
KNOWN = PINS | WITHOUT_HASH


def direct():
    """Every requirement of setup.cfg, of all extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    texts = {line for text in lines for line in text.splitlines() if line[:1].isalpha()}
    return [Requirement(text) for text in sorted(texts) if not text.startswith("edgesplit")]


def needed_by(name):
    """What an installed package needs on this machine; nothing of one that is not installed."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    needed = [Requirement(line) for line in lines]
    return [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_each_direct_dependency_is_locked_within_its_range(requirement):
    assert KNOWN[canonicalize_name(requirement.name)] in requirement.specifier


def test_there_is_something_to_check():
    assert len(direct()) > 20
    assert len(PINS) > 60


def test_every_line_is_a_version_with_hashes():
    rest = PIN.sub("", LOCK)
    assert [line for line in rest.splitlines() if line and not line.startswith("#")] == []
    assert "torch" not in PINS


@pytest.mark.parametrize("name", sorted(PINS))
def test_the_lock_is_whole(name):
    """What each needs in turn is there: it is installed without looking for more."""
    for requirement in needed_by(name):
        assert canonicalize_name(requirement.name) in KNOWN, f"{name} needs {requirement}"
        assert KNOWN[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("requirement", needed_by("torch"), ids=str)
def test_what_torch_needs_is_locked_but_for_its_build_and_setuptools(requirement):
    name = canonicalize_name(requirement.name)
    own = name.startswith(("nvidia-", "cuda-")) or name in ("triton", "setuptools")
    assert own or KNOWN[name] in requirement.specifier
