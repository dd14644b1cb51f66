"""Three real tiers in this process, over real sockets, with a program made of additions.

Needs no torch: test_without_torch.py uses it where there is none.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from edgesplit.core.power import Power
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.tier.host import TierHost
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.transport import wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.security import UNSECURED
from edgesplit.node.transport.tensor_kind import kind_here

NAMES = ("end", "edge", "cloud")


class Additions:
    """Layer k adds k; seconds_per_layer of waiting each."""

    def __init__(self, seconds_per_layer=0.0):
        self.seconds_per_layer = seconds_per_layer

    def segment(self, start, stop, runtime="torch"):
        def run(values):
            if self.seconds_per_layer:
                time.sleep(self.seconds_per_layer * (stop - start))
            return [value + sum(range(start, stop)) for value in values]

        return run

    def ran(self, ran):
        """Nothing to compare with."""


class ServedHost:
    """A host with one session, for tests that have no other: its server, and what the host has."""

    def __init__(self, settings, meter, kind=None, ports=()):
        self.host = TierHost(settings.tier)
        self.server = self.host.begin(settings, meter, kind)
        self.address = self.host.open(ports=ports)

    def __getattr__(self, name):
        return getattr(self.server if hasattr(self.server, name) else self.host, name)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self, timeout_s=5.0):
        self.host.close(timeout_s)


class Tiers:
    """Servers by name, and one client of the first."""

    def __init__(self, servers, client):
        self.servers, self.client = servers, client
        self.addresses = {name: server.address for name, server in servers.items()}
        self._kind = kind_here()
        self._ids = (f"test-{n}" for n in itertools.count())

    def request(
        self, values, stages, timeout_s=5.0, program="p", failover_after_s=0.0, hedges=(), codecs=()
    ):
        """hedges: rules by tier. codecs: by the tier that encodes."""
        hedges, codecs = dict(hedges), dict(codecs)
        specs, buffers = self._kind.pack(values)
        hops = [
            wire.Hop(
                t,
                self.addresses[t],
                a,
                b,
                failover_after_s=failover_after_s,
                hedge=hedges.get(t),
                codec=codecs.get(t, "as-is"),
            )
            for t, a, b in stages
        ]
        return (
            wire.Request(
                id=next(self._ids),
                program=program,
                route=hops,
                at=0,
                timeout_s=timeout_s,
                values=specs,
            ),
            buffers,
        )

    def infer(self, values, stages, timeout_s=5.0, failover_after_s=0.0, told=None, **more):
        """more: as request()."""
        request, buffers = self.request(
            values, stages, timeout_s, failover_after_s=failover_after_s, **more
        )
        with self.client.channel() as channel:
            channel.send(request, buffers, failover_after_s, told=told)
            return channel.receive(request.id, timeout_s)


@contextmanager
def tiers(program=None, kinds=None, **settings) -> Iterator[Tiers]:
    """kinds: by tier, where it is not this host's."""
    with ExitStack() as stack:
        servers = {}
        for name in NAMES:
            meter = PowerModelMeter(Power(10.0, 5.0, 5.0, 1.0))
            kind = (kinds or {}).get(name)
            server = ServedHost(ServeSettings(name, **settings), meter, kind)
            servers[name] = stack.enter_context(server)
            server.worker.programs["p"] = program or Additions()
        credentials = settings.get("credentials", UNSECURED)
        client = Client(servers["end"].address, credentials=credentials)
        stack.callback(client.close)
        yield Tiers(servers, client)
