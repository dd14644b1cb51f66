"""help() of what users set shows fields and words, not machinery."""

import inspect
import pickle
import pydoc
from dataclasses import fields, replace

import pytest

from edgesplit.config import Config
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan


@pytest.mark.parametrize("kind", [Config, Goal])
def test_help_shows_fields_and_no_machinery(kind):
    text = pydoc.render_doc(kind, renderer=pydoc.plaintext)
    assert all(field.name in text for field in fields(kind))
    for noise in (
        "__post_init__",
        "__setattr__",
        "__dataclass_fields__",
        "weakref",
        "collections.",
    ):
        assert noise not in text
    assert len(text.splitlines()) < 140


def test_signatures_are_names_and_defaults():
    assert str(inspect.signature(Goal)).startswith("(end_energy=0.6, total_energy=0.2, latency=0.2")
    assert "fallback='anywhere'" in str(inspect.signature(Config))


def test_they_are_values_as_before():
    goal = Goal(load=0.2)
    assert pickle.loads(pickle.dumps(goal)) == goal
    assert replace(goal, load=0.1) == Goal()
    assert "check_tiers" in dir(Config())


def test_a_plan_shows_as_its_text():
    assert repr(parse_plan("end:0-1 |zstd| edge:1-2")) == "<Plan end:0-1 |zstd| edge:1-2>"
