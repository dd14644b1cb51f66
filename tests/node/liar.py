"""A tier that answers what it likes: whoever asks it should believe what fits and no more."""

import contextlib
import math
import socket
import threading
from dataclasses import replace

import msgspec
import torch
from inside_node import prefix, send_bytes

from edgesplit.core.tier_timing import TierTiming
from edgesplit.node.transport import tensors, wire
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.greeting import read_greeting

TIB = 1 << 40


class Liar:
    """Listens; answer(request, values) gives the bytes that go back."""

    def __init__(self, answer):
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        host, port = self._listener.getsockname()
        self.address = f"{host}:{port}"
        self._threads = [threading.Thread(target=self._listen, daemon=True)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _listen(self):
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(accepted,)))
                self._threads[-1].start()

    def _serve(self, accepted):
        connection = Connection(accepted, wire.DEFAULT_MAX_FRAME_BYTES, tensors)
        with contextlib.suppress(OSError, EOFError), contextlib.closing(connection):
            read_greeting(accepted, 10.0)
            accepted.setblocking(True)
            while True:
                message, values = connection.receive()
                if isinstance(message, wire.Probe):
                    connection.send(wire.Echo(id=message.id))
                else:
                    send_bytes(connection, self._answer(message, values))


def honest(request, values):
    """The reply that the tier should give."""
    hop, rest = request.route[request.at], request.route[request.at :]
    specs, buffers = tensors.pack([v + sum(range(hop.start, rest[-1].stop)) for v in values])
    timings = [
        TierTiming(h.tier, h.start, h.stop, 0.0, 0.01, 0.02, 0.0, math.inf, 0, 0, 0.1) for h in rest
    ]
    return wire.Reply(id=request.id, values=specs, timings=timings), _bytes_of(buffers)


def _bytes_of(buffers):
    return b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)


def frame(message, body=b""):
    return wire.encode(message, len(body)) + body


def truth(request, values):
    return frame(*honest(request, values))


def with_values(values):
    """Other values than the model's."""
    specs, buffers = tensors.pack(values)

    def answer(request, given):
        reply, _ = honest(request, given)
        return frame(msgspec.structs.replace(reply, values=specs), _bytes_of(buffers))

    return answer


def with_timings(change):
    """Samples as change(the honest ones) makes them."""

    def answer(request, values):
        reply, body = honest(request, values)
        return frame(msgspec.structs.replace(reply, timings=change(reply.timings)), body)

    return answer


def with_first(**changes):
    return with_timings(lambda timings: [replace(timings[0], **changes), *timings[1:]])


def declaring(specs, body_bytes):
    """A header alone; what it speaks of never comes."""

    def answer(request, values):
        reply, _ = honest(request, values)
        return wire.encode(msgspec.structs.replace(reply, values=specs), body_bytes)

    return answer


SAMPLE_LIES = {
    "no samples": with_timings(lambda timings: []),
    "a tier that does not exist": with_first(tier="mars"),
    "a tier twice": with_timings(lambda timings: [*timings, timings[-1]]),
    "other layers": with_first(stop=3),
    "another runtime": with_first(runtime="\x1b[2J"),
    "it finished for nobody": with_first(failed_over="mars silent"),
    "seconds that are none": with_first(compute_s=math.nan),
    "seconds without end": with_first(own_s=math.inf),
    "negative seconds": with_first(queue_s=-1.0),
    "a negative gap": with_first(gap_s=-1.0),
    "seconds whose square overflows": with_first(hop_s=1e300),
    "joules without end": with_first(energy_j=math.inf),
    "negative joules": with_first(energy_j=-1.0),
    "negative uncertainty": with_first(energy_u_j=-1.0),
    "negative bytes": with_first(sent_bytes=-1),
}
VALUE_LIES = {
    "no values": with_values([]),
    "one too many": with_values([torch.zeros(3, 4), torch.zeros(3, 4)]),
    "another shape": with_values([torch.zeros(4, 3)]),
    "another rank": with_values([torch.zeros(12)]),
    "another dtype": with_values([torch.zeros(3, 4, dtype=torch.float64)]),
    "a number for a tensor": with_values([1.0]),
    "1 TiB of tensor": declaring([wire.TensorSpec("uint8", [TIB], [1])], TIB),
    "1 TiB of the right rank": declaring([wire.TensorSpec("uint8", [TIB, 1], [1, 1])], TIB),
}
FRAME_LIES = {
    "a frame of 1 TiB": lambda request, values: wire.encode(wire.Probe(id="", sender=""), TIB),
    "a request": lambda request, values: frame(msgspec.structs.replace(request, values=[])),
    "a reply to another": lambda request, values: frame(
        msgspec.structs.replace(honest(request, values)[0], id="x", values=[])
    ),
    "no header": lambda request, values: prefix(wire.MAGIC, wire.VERSION, 3, 0) + b"xyz",
    "no frame": lambda request, values: b"HTTP/1.1 200 OK\r\n\r\n",
    "a body too short": lambda request, values: frame(honest(request, values)[0], b"1234"),
}
