"""What a slow first answer says while it is slow; quick ones say nothing."""

import io
import logging
import sys
import threading

import pytest

from edgesplit import Config
from edgesplit.caller import progress
from edgesplit.caller.progress import Progress
from edgesplit.errors import ConfigError

LIMIT_S = 20.0


class Stream(io.StringIO):
    """A stderr that tells when something was written to it."""

    def __init__(self, is_terminal):
        super().__init__()
        self._is_terminal, self.written = is_terminal, threading.Event()

    def isatty(self):
        return self._is_terminal

    def write(self, text):
        self.written.set()
        return super().write(text)


@pytest.fixture
def stderr(monkeypatch):
    def use(is_terminal):
        stream = Stream(is_terminal)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return use


@pytest.fixture
def _soon(monkeypatch):
    monkeypatch.setattr(progress, "_QUIET_S", 0.01)
    monkeypatch.setattr(progress, "_PERIOD_S", 0.01)


def test_what_is_quick_says_nothing(stderr, caplog):
    stream = stderr(True)
    with caplog.at_level(logging.INFO, "edgesplit"), Progress().shown("opening"):
        pass
    assert not any(one.name == "edgesplit-progress" for one in threading.enumerate())
    assert (stream.getvalue(), caplog.records) == ("", [])


@pytest.mark.usefixtures("_soon")
def test_elsewhere_a_line_every_few_seconds_where_that_is_asked_for(stderr):
    stream = stderr(False)
    told = Progress(every_s=0.02)
    with told.shown("answering"):
        told.say("answering", "3 of 9")
        assert stream.written.wait(LIMIT_S)
    assert stream.getvalue().startswith("edgesplit: answering: 3 of 9 (0 s)\n")
    assert "\r" not in stream.getvalue()


@pytest.mark.usefixtures("_soon")
def test_a_terminals_line_follows_the_stage_and_is_taken_away(stderr):
    stream = stderr(True)
    told = Progress()
    with told.shown("a long stage"):
        assert stream.written.wait(LIMIT_S)
        told.say("next")
        stream.written.clear()
        assert stream.written.wait(LIMIT_S)
        while "next" not in stream.getvalue():
            stream.written.clear()
            assert stream.written.wait(LIMIT_S)
    text = stream.getvalue()
    assert "edgesplit: a long stage (0 s)" in text
    # Every line ends at its own beginning, so that what comes next is written over it.
    assert "\n" not in text
    assert text.endswith("\r")
    assert text.split("\r")[-2].strip() == ""


@pytest.mark.usefixtures("_soon")
def test_a_line_says_how_far_a_stage_is(stderr):
    stream, told = stderr(True), Progress()
    with told.shown("sending the model to cloud"):
        told.say("sending the model to cloud", "120 of 553 MB")
        while "sending the model to cloud: 120 of 553 MB (0 s)" not in stream.getvalue():
            stream.written.clear()
            assert stream.written.wait(LIMIT_S)
        told.say("next")
        while "next (0 s)" not in stream.getvalue():
            stream.written.clear()
            assert stream.written.wait(LIMIT_S)


@pytest.mark.usefixtures("_soon")
def test_elsewhere_a_message_per_stage_is_logged(stderr, caplog):
    stream = stderr(False)
    said = threading.Event()

    class Heard(logging.Handler):
        def emit(self, record):
            said.set()

    handler = Heard()
    logging.getLogger("edgesplit").addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "edgesplit"), Progress().shown("exporting"):
            assert said.wait(LIMIT_S)
    finally:
        logging.getLogger("edgesplit").removeHandler(handler)
    assert [record.message for record in caplog.records] == ["exporting, after 0 s"]
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize(("is_wanted", "is_terminal"), [(False, True), (True, False)])
def test_it_can_be_switched(stderr, is_wanted, is_terminal):
    stream = stderr(is_terminal)
    with Progress(is_wanted).shown("exporting"):
        if is_wanted:
            assert stream.written.wait(LIMIT_S)
        else:
            assert not any(one.name == "edgesplit-progress" for one in threading.enumerate())
    assert bool(stream.getvalue()) == is_wanted


@pytest.mark.usefixtures("_soon")
def test_several_threads_have_one_line_until_the_last_is_done(stderr):
    stream = stderr(True)
    told, inside = Progress(), threading.Event()

    def work():
        with told.shown("the other"):
            inside.wait(LIMIT_S)

    with told.shown("one"):
        other = threading.Thread(target=work)
        other.start()
        names = [one.name for one in threading.enumerate()]
        assert names.count("edgesplit-progress") <= 1
    stream.written.clear()
    assert stream.written.wait(LIMIT_S), "the other one is still at it"
    inside.set()
    other.join(LIMIT_S)
    assert stream.getvalue().endswith("\r")


@pytest.mark.parametrize("wrong", [1, "yes", 0])
def test_the_setting_is_checked(wrong):
    with pytest.raises(ConfigError, match="progress is True, False or None, given"):
        Config(progress=wrong)
