"""A value with some fields changed: as dataclasses.replace makes it."""

from dataclasses import replace

import pytest

from edgesplit.core.changed import changed
from edgesplit.core.control.estimate import estimate


def test_as_replace_and_the_old_value_stays():
    old = estimate(2.0)
    assert changed(old, count=7, up=1.5) == replace(old, count=7, up=1.5)
    assert changed(old) == old == estimate(2.0)


def test_a_field_that_there_is_not_is_told():
    with pytest.raises(TypeError, match="Estimate has no cuont"):
        changed(estimate(2.0), cuont=7)
