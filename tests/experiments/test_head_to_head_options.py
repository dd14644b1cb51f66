"""What users give experiments.head_to_head: tables of their own, traces, seeds, models."""

import json

import pytest
from click.testing import CliRunner

from edgesplit.core.control.event_file import EventLog, lines_of
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin
from edgesplit.core.goal import Goal
from edgesplit.core.plain_data import plain_form
from edgesplit.core.policies.policy import score
from edgesplit.core.profile import Profile
from edgesplit.errors import ConfigError
from experiments.head_to_head import __main__ as replayed
from experiments.head_to_head import played
from experiments.head_to_head.table import stated_tables
from experiments.head_to_head.user_tables import read_tables

STATED = stated_tables()[0]


@pytest.fixture
def recording(tmp_path):
    """A file as `edgesplit events --out FILE` writes it."""
    state, _ = begin(STATED.graph, STATED.profile, Goal(), score, Settings(), 0.0)
    path = tmp_path / "session.events"
    with path.open("w") as file:
        file.writelines(lines_of(EventLog("0.1.0", "5e55", "w0", "score", state, ())))
    return path


def test_a_recording_is_a_table(recording):
    (table,) = read_tables(recording)
    assert (table.name, table.graph) == (STATED.name, STATED.graph)
    assert table.profile.tiers == STATED.profile.tiers
    assert table.provenance == "read from session.events"


def test_a_recording_that_is_cut_short_is_said_to_be(recording):
    recording.write_text(recording.read_text()[:-20])
    with pytest.raises(ConfigError, match="cut short"):
        read_tables(recording)


def test_two_values_are_a_table(tmp_path):
    path = tmp_path / "table.json"
    data = {
        "graph": plain_form(type(STATED.graph)).encode(STATED.graph),
        "profile": plain_form(Profile).encode(STATED.profile),
    }
    path.write_text(json.dumps(data))
    (table,) = read_tables(path)
    assert (table.graph, table.profile) == (STATED.graph, STATED.profile)


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        (replayed.main, ["--trace", "nosuch"], "nosuch"),
        (replayed.main, ["--seed", "-1"], "--seed"),
        (replayed.main, ["--model", "nosuch"], "nosuch"),
        (played.main, ["--quick", "--model", "nosuch"], "nosuch"),
        (played.main, ["--quick", "--seed", "-1"], "--seed"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(tmp_path, command, options, told):
    out = tmp_path / "out"
    result = CliRunner().invoke(command, ["--out", str(out), *options])
    assert result.exit_code != 0
    assert told in result.output
    assert "Traceback" not in result.output
    assert not list(out.glob("*.csv"))
    assert not (out / "journal.jsonl").exists()
