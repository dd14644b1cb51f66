"""The journal: what was finished is there after an interruption, other settings are refused."""

import pytest

from edgesplit.errors import ConfigError
from experiments.shared.resume import FILE, Journal

SETTINGS = {"requests": 5, "models": ("a", "b")}


def written(out, settings=SETTINGS):
    journal = Journal(out, settings).open()
    journal.append({"kind": "run", "number": 0, "seconds": 0.5})
    journal.append({"kind": "run", "number": 1, "seconds": None})
    return journal


def test_entries_are_there_again(tmp_path):
    written(tmp_path / "new")
    journal = Journal(tmp_path / "new", SETTINGS).open()
    assert list(journal.find(kind="run")) == [
        {"kind": "run", "number": 0, "seconds": 0.5},
        {"kind": "run", "number": 1, "seconds": None},
    ]
    assert journal.has(kind="run", number=1)
    assert not journal.has(kind="run", number=2)
    assert not journal.has(kind="other")


@pytest.mark.parametrize("torn", ['{"kind":"run","num', '{"kind":"run","number":2}', "\x00\x00"])
def test_a_line_that_was_not_finished_is_cut_off(tmp_path, torn):
    written(tmp_path)
    with (tmp_path / FILE).open("a") as file:
        file.write(torn)
    Journal(tmp_path, SETTINGS).open().append({"kind": "run", "number": 2})
    journal = Journal(tmp_path, SETTINGS).open()
    assert [entry["number"] for entry in journal.find(kind="run")] == [0, 1, 2]


def test_other_settings_are_refused_by_name(tmp_path):
    written(tmp_path)
    with pytest.raises(ConfigError, match=r"requests was 5, now 6; seed was None, now 1\. Use"):
        Journal(tmp_path, {**SETTINGS, "requests": 6, "seed": 1}).open()
    with pytest.raises(ConfigError, match=r"models was .*, now None"):
        Journal(tmp_path, {"requests": 5}).open()


def test_fresh_starts_over(tmp_path):
    written(tmp_path)
    journal = Journal(tmp_path, {"requests": 6}).open(is_fresh=True)
    assert not journal.has()
    assert not Journal(tmp_path, {"requests": 6}).open().has()


def test_where_nothing_was_finished_other_settings_are_taken(tmp_path):
    Journal(tmp_path, SETTINGS).open()
    Journal(tmp_path, {"requests": 6}).open().append({"kind": "run"})
    with pytest.raises(ConfigError, match="requests was 6, now 5"):
        Journal(tmp_path, SETTINGS).open()


def test_a_damaged_line_is_named(tmp_path):
    written(tmp_path)
    lines = (tmp_path / FILE).read_text().splitlines(keepends=True)
    (tmp_path / FILE).write_text("".join([lines[0], "}{\n", lines[1]]))
    with pytest.raises(ConfigError, match="line 2 is damaged"):
        Journal(tmp_path, SETTINGS).open()


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write to .*file"):
        Journal(tmp_path / "file", SETTINGS).open()
