"""What tests look at inside a host: the one module here that knows private names of node's."""

from dataclasses import replace

from edgesplit.node.tier import entrance, outbound
from edgesplit.node.transport import connection, local_stream, wire

MOST_WAITING = entrance._MOST_WAITING  # strangers that have shown no credentials yet

# Of a server


def jobs_of(server):
    """What it has taken and not answered yet."""
    return list(server._router._jobs.values())


def awaits_reply(server, request_id):
    """Whether it has sent the request on, and waits."""
    return request_id in server._router.outbound._sent


def limit_jobs(server, max_queue):
    """Let it have no more under way than with such a queue."""
    router = server._router
    router._settings = replace(router._settings, max_queue=max_queue)


def after_freeing(monkeypatch, do):
    """Have do(next tiers) called when a tier has freed the requests that a silent one held."""
    free = outbound.Outbound._silent

    def and_do(self, request_ids):
        free(self, request_ids)
        do(self._next_tiers.values())

    monkeypatch.setattr(outbound.Outbound, "_silent", and_do)


def connections_of(server):
    """Every connection that it has accepted or made."""
    return server._connections


def count_let_in(server):
    """How many have shown that they may send it something."""
    return len(server._inbounds)


def count_at_the_door(server):
    """How many have not yet."""
    return len(server.entrance._waiting)


def shed(server):
    """As it does where it is out of descriptors."""
    server._shed()


def room_of(server):
    """For the payloads that it holds."""
    return server._router.room


def limit_room(room, most_bytes):
    """Let it bear no more than that."""
    room._most_bytes = most_bytes


def has_waiters(room):
    """Whether somebody waits for room."""
    return room._waiters > 0


# Of a caller


def count_idle(client):
    """How many channels it keeps for the next request."""
    return len(client._idle)


def idle_channels_of(client):
    """Those channels."""
    return [channel for _, channel in client._idle]


def has_unclaimed(channel):
    """Whether answers came that nobody has taken."""
    return bool(channel._ready)


# Of a connection


def only_tcp(monkeypatch):
    """Have processes of this host connect as those of other hosts do."""
    monkeypatch.setattr(connection, "connect_here", lambda address, timeout_s: None)


def prefix(magic, version, header_bytes, body_bytes):
    """The first bytes of a frame, whether or not they make sense."""
    return wire._PREFIX.pack(magic, version, header_bytes, body_bytes)


def send_bytes(connection, data):
    """Send what need not be a frame."""
    connection._outgoing.send([memoryview(data)])


def socket_of(connection):
    """Its socket, also where there is TLS on top."""
    return connection._stream._socket


def tls_record_of(connection, data):
    """The record that the data would be sent in."""
    connection._stream._tls.write(data)
    return connection._stream._outgoing.read()


LOCAL_MAGIC, LOCAL_PROOF_BYTES = local_stream._MAGIC, local_stream._PROOF_BYTES
LOCAL_HELLO_BYTES = len(LOCAL_MAGIC) + local_stream._NONCE_BYTES


# Of what computes and measures


def set_switches(segment, switches):
    """Let it run with these settings of torch."""
    segment._switches = switches


def set_run(segment, run):
    """Let it do something else."""
    segment._run = run


def read_now(meter):
    """Have the first of its samplers take a reading."""
    meter._samplers[0].read_now()


def has_taken(server, seconds):
    """Let its tasks be expected to take so long."""
    server.worker._lane.took(seconds)
