"""One connection: what it remembers of the frame before excuses nothing in the next one."""

import numpy as np
import pytest
from connected import connected
from inside_node import send_bytes

from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.connection import FrameError


@pytest.fixture
def ends():
    with connected() as found:
        yield found


def reply(name, array):
    specs, buffers = arrays.pack([array])
    return wire.Reply(id=name, values=specs, timings=[]), buffers


def test_the_same_tensors_again_are_received_again(ends):
    near, far = ends
    for number in range(3):
        array = np.full(100, number, np.float32)
        near.send(*reply(f"{number}", array))
        message, (values,) = far.receive()
        assert message.id == f"{number}"
        assert np.array_equal(values, array)


@pytest.mark.parametrize("n_bytes", [0, 64, 384, 4096])
def test_another_length_under_the_same_tensors_is_refused(ends, n_bytes):
    near, far = ends
    message, buffers = reply("good", np.ones(100, np.float32))
    near.send(message, buffers)
    assert far.receive()[0].id == "good"
    send_bytes(near, wire.encode(message, n_bytes) + bytes(n_bytes))
    with pytest.raises(FrameError, match=f"448 bytes of tensors, the body has {n_bytes}"):
        far.receive()
    near.send(message, buffers)
    assert far.receive()[0].id == "good"


def test_what_was_refused_before_is_refused_again(ends):
    near, far = ends
    spec = wire.TensorSpec("float33", [1], [1])
    for _ in range(2):
        send_bytes(near, wire.encode(wire.Reply(id="bad", values=[spec], timings=[]), 64))
        send_bytes(near, bytes(64))
        with pytest.raises(FrameError, match="float33"):
            far.receive()


def test_a_body_that_is_passed_on_comes_as_it_was_sent(ends):
    near, far = ends
    for n_bytes in (0, 64, 640_000):
        sent = np.random.default_rng(n_bytes).bytes(n_bytes)
        array = np.frombuffer(sent, np.uint8)
        near.post(*reply("r", array))
        _, body_bytes = far.receive_header()
        assert bytes(far.receive_body(body_bytes)) == sent
