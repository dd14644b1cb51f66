"""A tier's sessions: opened, called, given up."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faults import until

from edgesplit.core.power import Power
from edgesplit.errors import ClusterError, ConfigError
from edgesplit.node.process.imports import Imports
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.tier_session import TierSession, TierSessionSettings
from edgesplit.node.tier.tier_sessions import TierSessions
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.security import new_credentials


@pytest.fixture
def tier(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGESPLIT_CACHE", str(tmp_path / "cache"))
    made = TierSessions("end", silent_s=0.4)
    made.open_door("127.0.0.1", ())
    yield made
    made.close()


def told(name, **settings):
    serve = ServeSettings("end", credentials=new_credentials(name), **settings)
    return TierSessionSettings(serve, Power(10.0, 5.0, 5.0, 1.0), "model", Imports())


def test_a_session_is_opened_once_and_says_so_again(tier):
    settings = told("ann")
    opened = tier.open(settings)
    assert tier.open(settings) == opened
    assert opened.address == tier.address
    assert tier.incarnation("ann") == opened.incarnation
    assert tier.names == ("ann",)
    assert tier.metering() == {"ann": "modelled: given (device)"}


def test_one_that_asks_for_something_else_is_opened_anew(tier):
    settings = told("ann")
    first = tier.open(settings)
    again = tier.open(replace(settings, serve=replace(settings.serve, hedge=0.5)))
    assert again.incarnation != first.incarnation
    assert tier.names == ("ann",)


def test_one_that_is_not_open_is_told_so(tier):
    tier.open(told("ann"))
    assert tier.incarnation("ben") != tier.incarnation("ann")
    with pytest.raises(ClusterError, match=r"does not know session 'ben' any more"):
        tier.call("ben", "failures")
    with pytest.raises(ClusterError):
        tier.call("ann", "_held")
    tier.end("ben")
    assert tier.names == ("ann",)


def test_one_that_nobody_asks_after_ends_and_one_with_a_caller_does_not(tier):
    ann, ben, eve = told("ann"), told("ben"), told("eve")
    for settings in (ann, ben, eve):
        tier.open(settings)
        tier.incarnation(settings.serve.session)
    client = Client(tier.address, credentials=ben.serve.credentials)
    with client.channel():
        until_s = time.monotonic() + 2.0
        while time.monotonic() < until_s:
            tier.incarnation("eve")  # as its caller does
            time.sleep(0.05)
        assert set(tier.names) == {"ben", "eve"}
    client.close()
    until(lambda: tier.names == ())


def test_tiers_that_only_know_each_other_give_the_session_up(tier):
    """Each has looked how far the other is, and keeps that connection."""
    other = TierSessions("cloud", silent_s=0.4)
    other.open_door("127.0.0.1", ())
    ann = told("ann")
    both = {"end": tier, "cloud": other}
    for name, one in both.items():
        one.open(replace(ann, serve=replace(ann.serve, tier=name)))
    try:
        for one, name in ((tier, "cloud"), (other, "end")):
            one.call("ann", "probe", (name, both[name].address), 1024, 5.0)
        until(lambda: tier.names == other.names == ())
    finally:
        other.close()


FROZEN = """
import os, signal, sys, time
from test_tier_sessions import TierSessions, told
tier = TierSessions("end", silent_s=1.5)
tier.open_door("127.0.0.1", ())
tier.open(told("ann"))
tier.incarnation("ann")
print("open", flush=True)
sys.stdin.readline()
time.sleep(0.3)
print(tier.names, flush=True)
tier.close()
"""


def test_a_tier_that_was_frozen_itself_takes_nobody_for_gone(tmp_path):
    here = Path(__file__).parent
    env = {**os.environ, "EDGESPLIT_CACHE": str(tmp_path)}
    env["PYTHONPATH"] = os.pathsep.join(map(str, [here, here.parent, *sys.path]))
    command = [sys.executable, "-c", FROZEN]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=env, text=True) as program:
        assert program.stdout.readline() == "open\n"
        program.send_signal(signal.SIGSTOP)
        time.sleep(4.0)
        program.send_signal(signal.SIGCONT)
        said, _ = program.communicate("\n", timeout=60)
    assert said == "('ann',)\n"


def test_one_that_waits_for_slower_tiers_is_kept_until_its_first_call(tier):
    tier.open(told("ann"))
    time.sleep(1.0)  # more than twice what is borne later
    assert tier.names == ("ann",)
    tier.incarnation("ann")
    until(lambda: tier.names == ())


def test_a_module_that_is_missing_is_named_and_others_are_served(tier):
    with pytest.raises(ConfigError, match="tier 'end' cannot import 'no_such_module'"):
        tier.open(replace(told("ann"), imports=Imports(("no_such_module",))))
    tier.open(told("ben"))
    assert tier.names == ("ben",)


def test_a_module_that_takes_long_keeps_no_other_session_waiting(tier, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    goes_on = tmp_path / "goes_on"
    (tmp_path / "slow_operators.py").write_text(
        f"import pathlib, time\nwhile not pathlib.Path({str(goes_on)!r}).exists():\n"
        "    time.sleep(0.01)\n"
    )
    slow = replace(told("ann"), imports=Imports(("slow_operators",)))
    opening = threading.Thread(target=tier.open, args=(slow,))
    opening.start()
    try:
        tier.open(told("ben"))
        assert tier.names == ("ben",)
        tier.end("ben")
        assert opening.is_alive()
    finally:
        goes_on.touch()
        opening.join(10.0)
    assert tier.names == ("ann",)


def test_one_that_cannot_be_given_up_whole_is_no_other_sessions_harm(tier, monkeypatch, caplog):
    whole = TierSession.close

    def close(session, host):
        whole(session, host)
        if session.settings.serve.session == "ann":
            raise OSError("the disk is gone")

    monkeypatch.setattr(TierSession, "close", close)
    tier.open(told("ann"))
    until(lambda: tier.names == ())
    tier.open(told("ben"))
    until(lambda: tier.names == ())
    assert "session ann is not given up whole" in caplog.text


@pytest.mark.parametrize("weight", [float("nan"), 0.0, 1e-18, 1e9])
def test_bad_settings_of_one_are_refused_and_leave_nothing(tier, weight):
    tier.open(told("ben"))
    with pytest.raises(ConfigError, match="weight"):
        tier.open(told("ann", weight=weight))
    assert tier.names == ("ben",)
    tier.open(told("ann"))
    assert tier.call("ann", "failures") == ()
