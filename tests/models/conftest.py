"""Which rows of the corpus are tried: a fixed sample, or all of them with --all-models."""

import pytest
from corpus import ROWS, named
from pending import PENDING


def pytest_generate_tests(metafunc):
    """One test per row: those that the test function names as its sample, or all."""
    if "row" in metafunc.fixturenames:
        is_full = metafunc.config.getoption("--all-models")
        rows = ROWS if is_full else named(metafunc.function.sample)
        metafunc.parametrize("row", [_marked(row) for row in rows])


def _marked(row):
    marks = [pytest.mark.xfail(reason=PENDING[row.name], run=False)] if row.name in PENDING else []
    return pytest.param(row, id=row.name, marks=marks)


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """Results depend on the number of threads."""
