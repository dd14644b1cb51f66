"""Several sessions on one host: one port, one compute thread, and nothing else in common."""

import threading
import time
from contextlib import ExitStack, contextmanager

import msgspec
import pytest
import torch
from faults import until
from tiers import Additions

from edgesplit.core.power import Power
from edgesplit.errors import RequestError
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.tier import compute
from edgesplit.node.tier.host import TierHost
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.transport import wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.security import Credentials, new_credentials
from edgesplit.node.transport.tensor_kind import kind_here

X = torch.ones(3)


class Noted(Additions):
    """Notes in `turns` whose it is when it runs, and waits for `goes_on`."""

    def __init__(self, name, turns, goes_on):
        super().__init__()
        self._name, self._turns, self._goes_on = name, turns, goes_on

    def segment(self, start, stop, runtime="torch"):
        add = super().segment(start, stop, runtime)

        def run(values):
            assert self._goes_on.wait(10)
            self._turns.append(self._name)
            time.sleep(0.002)
            return add(values)

        return run


class Shared:
    """A host with sessions by name; asks for them. turns: whose requests were run, in order."""

    def __init__(self, sessions):
        self.host, self.turns, self.goes_on = TierHost("end"), [], threading.Event()
        self.goes_on.set()
        self.servers, self.clients, self._stack = {}, {}, ExitStack()
        self.address = self.host.open()
        self._stack.callback(self.host.close)
        for name, (credentials, weight) in sessions.items():
            settings = ServeSettings("end", credentials=credentials, weight=weight, max_queue=64)
            server = self.host.begin(settings, PowerModelMeter(Power(10.0, 5.0, 5.0, 1.0)))
            server.worker.programs["p"] = Noted(name, self.turns, self.goes_on)
            self.servers[name] = server
            self.clients[name] = Client(self.address, credentials=credentials)
            self._stack.callback(self.clients[name].close)

    def close(self):
        self.goes_on.set()
        self._stack.close()

    def request(self, request_id, timeout_s=10.0):
        specs, buffers = kind_here().pack([X])
        route = [wire.Hop("end", self.address, 0, 4)]
        return wire.Request(
            id=request_id, program="p", route=route, at=0, timeout_s=timeout_s, values=specs
        ), buffers

    def ask(self, name, request_id="r", timeout_s=10.0):
        request, buffers = self.request(request_id, timeout_s)
        with self.clients[name].channel() as channel:
            channel.send(request, buffers)
            return channel.receive(request.id, timeout_s)

    @contextmanager
    def asking(self, name, count, first=0):
        """That many requests of a session under way, on one channel; then their answers."""
        with self.clients[name].channel() as channel:
            ids = [f"{name}-{n}" for n in range(first, first + count)]
            for request_id in ids:
                channel.send(*self.request(request_id))
            answers = {}
            yield answers
            for request_id in ids:
                try:
                    answers[request_id] = channel.receive(request_id, 10.0)
                except RequestError as error:
                    answers[request_id] = error


@contextmanager
def shared(**sessions):
    """weights by session; each has a key of its own."""
    made = Shared({name: (new_credentials(name), weight) for name, weight in sessions.items()})
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("is_secured", [True, False], ids=["tls", "plain"])
def test_each_is_served_at_the_one_port(is_secured):
    keys = {n: new_credentials(n) if is_secured else Credentials(n) for n in ("ann", "ben")}
    made = Shared({name: (key, 1.0) for name, key in keys.items()})
    try:
        for name in ("ann", "ben", "ann"):
            assert torch.equal(made.ask(name).values[0], X + 6)
        assert made.turns == ["ann", "ben", "ann"]
    finally:
        made.close()


def test_the_key_of_one_opens_nothing_of_the_other():
    with shared(ann=1.0, ben=1.0) as running:
        ann = running.servers["ann"].settings.credentials
        as_ben = Credentials("ben", ann.certificate, ann.key)
        for stranger in (as_ben, new_credentials("ben"), new_credentials("nobody")):
            client = Client(running.address, credentials=stranger)
            with pytest.raises(RequestError, match="transport security"), client.channel():
                pass
            client.close()
        plain = Client(running.address, credentials=Credentials("ben"))
        request, buffers = running.request("r")
        with plain.channel() as channel:
            channel.send(request, buffers)
            with pytest.raises(RequestError, match="transport security: the peer speaks TLS"):
                channel.receive("r", 5.0)
        plain.close()
        assert running.host.entrance.refused >= 3
        assert torch.equal(running.ask("ben").values[0], X + 6)
    assert running.turns == ["ben"]


def test_one_cannot_name_what_the_other_has():
    """Programs and requests of a name are each session's own."""
    with shared(ann=1.0, ben=1.0) as running:
        running.servers["ann"].worker.programs["secret"] = Additions()
        request, buffers = running.request("r")
        request = wire.Request(**{**_fields(request), "program": "secret"})
        with running.clients["ben"].channel() as channel:
            channel.send(request, buffers)
            with pytest.raises(RequestError, match="no program 'secret'"):
                channel.receive("r", 5.0)
        running.goes_on.clear()
        with running.asking("ann", 2) as answers, running.clients["ben"].channel() as channel:
            until(lambda: running.servers["ann"].n_jobs == 2)
            channel.send(*running.request("ann-1"))  # the same id
            channel.cancel("ann-1")
            until(lambda: running.servers["ben"].n_jobs == 0)
            running.goes_on.set()
        assert all(torch.equal(answer.values[0], X + 6) for answer in answers.values())


@contextmanager
def begun(running, name):
    """One request of that session is being computed."""
    with running.asking(name, 1):
        until(lambda: running.servers[name].n_jobs == 1 and not running.host.compute.n_waiting)
        yield


def _fields(request):
    return {name: getattr(request, name) for name in request.__struct_fields__}


def test_whoever_floods_waits_for_himself():
    with shared(flood=1.0, quiet=1.0) as running:
        running.goes_on.clear()
        with running.asking("flood", 40), running.asking("quiet", 3):
            until(lambda: running.servers["quiet"].n_jobs == 3)
            until(lambda: running.servers["flood"].n_jobs == 40)
            running.goes_on.set()
        last = max(at for at, name in enumerate(running.turns) if name == "quiet")
        # One of the flood was begun before; then turns of 20 ms, which are some ten tasks each.
        assert last <= 30
        assert running.turns.count("flood") == 40


def test_weight_is_a_share():
    with shared(low=0.25, high=4.0) as running:
        running.goes_on.clear()
        with running.asking("low", 60), running.asking("high", 60):
            until(lambda: running.servers["low"].n_jobs == 60)
            until(lambda: running.servers["high"].n_jobs == 60)
            running.goes_on.set()
        first = running.turns[: running.turns.index("high") + 60]
        assert first.count("low") <= 20


def test_where_it_is_full_the_one_of_less_weight_makes_room(monkeypatch):
    monkeypatch.setattr(compute, "_MOST_WAITING", 10)
    with shared(low=0.25, high=4.0) as running:
        running.goes_on.clear()
        with begun(running, "low"), running.asking("low", 10, first=1) as low:
            until(lambda: running.servers["low"].n_jobs == 11)
            with running.asking("high", 4) as high:
                until(lambda: running.servers["high"].n_jobs == 4)
                until(lambda: running.servers["low"].n_jobs == 7)
                running.goes_on.set()
    assert all(torch.equal(answer.values[0], X + 6) for answer in high.values())
    refused = [name for name, answer in low.items() if isinstance(answer, RequestError)]
    assert refused == [f"low-{n}" for n in range(7, 11)]
    assert "busy" in str(low["low-10"])
    assert "of more weight" in str(low["low-10"])


def test_where_it_is_full_of_ones_own_the_new_one_is_refused(monkeypatch):
    monkeypatch.setattr(compute, "_MOST_WAITING", 5)
    with shared(low=0.25, high=4.0) as running:
        running.goes_on.clear()
        with begun(running, "high"), running.asking("high", 5, first=1) as high:
            until(lambda: running.servers["high"].n_jobs == 6)
            with pytest.raises(RequestError, match=r"5 of all sessions, for some"):
                running.ask("low")
            running.goes_on.set()
    assert all(torch.equal(answer.values[0], X + 6) for answer in high.values())


def test_a_session_that_ends_takes_nothing_with_it():
    with shared(ann=1.0, ben=1.0) as running:
        assert torch.equal(running.ask("ann").values[0], X + 6)
        running.goes_on.clear()
        with running.asking("ben", 2) as answers, running.asking("ann", 2) as lost:
            until(lambda: running.servers["ann"].n_jobs == 2)
            until(lambda: running.servers["ben"].n_jobs == 2)
            running.host.end("ann")
            running.goes_on.set()
        assert all(torch.equal(answer.values[0], X + 6) for answer in answers.values())
        assert all(isinstance(answer, RequestError) for answer in lost.values())
        with pytest.raises(RequestError):
            running.ask("ann")
        assert torch.equal(running.ask("ben").values[0], X + 6)


def test_one_that_never_reads_its_answers_holds_up_neither_the_other_nor_its_own_end():
    large = torch.ones(2**18)
    with shared(ann=1.0, ben=1.0) as running, running.clients["ann"].channel() as channel:
        specs, buffers = kind_here().pack([large])
        for number in range(48):
            request, _ = running.request(f"ann-{number}")
            channel.send(msgspec.structs.replace(request, values=specs), buffers)
        until(lambda: running.servers["ann"].worker.jobs_done == 48)
        before_s = time.monotonic()
        assert torch.equal(running.ask("ben").values[0], X + 6)
        running.host.end("ann")
        assert time.monotonic() - before_s < 4.0  # a connection is given 5 s to end
        assert torch.equal(running.ask("ben").values[0], X + 6)
