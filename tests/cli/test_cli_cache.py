"""`edgesplit cache` as a stranger uses it."""

import json
import os
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from edgesplit.cli import main
from edgesplit.node.program.export.model import export
from edgesplit.node.program.host_programs import HostPrograms, cache_folder
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.program.shipping import pack


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGESPLIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def invoke(*words):
    return CliRunner().invoke(main, ["cache", *words])


def put():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    programs, packed = HostPrograms(), pack(export(model, (torch.zeros(2, 8),)).program)
    described = DescribedProgram.of(packed)
    programs.mapped(described.description, packed.by_name)
    return programs, described.name


def test_an_empty_cache(folder):
    for word, said in (("list", "0 programs"), ("verify", "0 of 0"), ("clear", "removed 0.0 MB")):
        found = invoke(word)
        assert (found.exit_code, said in found.output) == (0, True), found.output
    assert not folder.exists()


def test_what_is_kept_is_listed_and_cleared(folder):
    programs, name = put()
    assert programs.use(name) is not None
    listed = json.loads(invoke("list", "--json").output)
    assert (listed["folder"], len(listed["programs"])) == (str(folder), 1)
    assert listed["programs"][0]["is_used"] is True
    assert f"in use, and kept: {name}" in invoke("clear").output
    programs.done(name)
    assert name in invoke("list").output
    assert "removed" in invoke("clear").output
    assert "0 programs" in invoke("list").output


def test_damage_is_told_and_dropped(folder):
    put()
    (path,) = (folder / "weights").iterdir()
    data = bytearray(path.read_bytes())
    data[-70] ^= 1
    path.write_bytes(data)
    found = invoke("verify")
    assert found.exit_code == 1
    assert "0 of 1 programs are as they should be" in found.output
    assert "0 of 0" in invoke("verify").output


@pytest.mark.parametrize("given", ["many", "-1", "nan"])
def test_a_limit_that_is_none(monkeypatch, given):
    monkeypatch.setenv("EDGESPLIT_CACHE_BYTES", given)
    found = invoke("list")
    assert found.exit_code == 1
    assert "EDGESPLIT_CACHE_BYTES is a number of bytes, such as 2e9" in found.output


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGESPLIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgesplit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "edgesplit")

    def homeless():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder().name == f"edgesplit-{os.geteuid()}"


def test_where_no_file_can_be_programs_stay_in_memory(folder, caplog):
    folder.write_text("in the way")
    programs, name = put()
    assert programs.use(name) is None, "its weights are this process's own"
    assert "stay in memory" in caplog.text
