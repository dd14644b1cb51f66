"""Where results are to go is tried before the work, and trying leaves nothing behind."""

import os

import pytest
from click.testing import CliRunner

from edgesplit.cli.out import made_folder, writable_file
from edgesplit.errors import ConfigError
from experiments.callers import main as callers
from experiments.planner.__main__ import main as planner


def test_a_folder_is_made_and_left_empty(tmp_path):
    made = made_folder(tmp_path / "a" / "b")
    assert list(made.iterdir()) == []
    assert made_folder(made) == made


@pytest.mark.parametrize("name", ["file", "file/below", "\0", "/proc/out", "/proc"])
def test_a_folder_that_cannot_be(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="the folder"):
        made_folder(tmp_path / name)


def test_a_files_content_is_kept_and_a_new_one_is_not_left(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("before")
    assert writable_file(kept).read_text() == "before"
    assert not writable_file(tmp_path / "new").exists()


def test_a_file_that_cannot_be(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none" / "x", tmp_path / "pipe", tmp_path / "\0"):
        with pytest.raises(ConfigError, match="cannot write"):
            writable_file(path)


@pytest.mark.parametrize("experiment", [callers, planner])
def test_an_experiment_tells_before_it_begins(experiment, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("the folder comes first")

    monkeypatch.setattr("edgesplit.caller.api.EdgeSplit.open", never)
    monkeypatch.setattr("experiments.planner.__main__.Progress", never)
    (tmp_path / "file").touch()
    found = CliRunner().invoke(experiment, ["--out", str(tmp_path / "file")])
    assert found.exit_code == 2
    assert "cannot make the folder" in found.output
