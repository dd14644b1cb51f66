"""Core decides without torch and Ray: importing either fails in these tests."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _no_torch_no_ray(monkeypatch):
    for name in ("torch", "ray"):
        monkeypatch.setitem(sys.modules, name, None)
