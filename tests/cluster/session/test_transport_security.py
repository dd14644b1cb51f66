"""A session's data plane is secured unless the user says otherwise; what listens where."""

import os
import socket

import psutil
import pytest
import torch
from inside_session import credentials_of
from ray._raylet import get_authentication_mode

from edgesplit import Config, EdgeSplit, InsecureTransportWarning
from edgesplit.errors import RequestError, TransportSecurityError, UnknownNameError
from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.client import Client
from edgesplit.node.transport.connection import connect
from edgesplit.node.transport.security import Credentials, connecting, new_credentials
from experiments.shared.small_net import small_net

_TOKEN_MODE = 1  # of Ray's AuthenticationMode
pytestmark = pytest.mark.usefixtures("one_cluster")


@pytest.fixture
def x():
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def listening(process):
    """(address, port) of every socket that this process and its children listen on."""
    for one in (process, *process.children(recursive=True)):
        for connection in one.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                yield tuple(connection.laddr)


def answer_of(address, data):
    """What comes back for plain bytes."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10.0) as stranger:
        stranger.sendall(data)
        return stranger.recv(1000)


def test_a_session_is_secured_without_being_asked(x):
    with EdgeSplit(small_net()) as split:
        y = split.infer_on("end:0-3 | edge:3-5 | cloud:5-8", x)
        assert torch.equal(y, split.infer_on("end:0-8", x))
        assert credentials_of(split).is_secured
        for address in split.addresses.values():
            assert b"ESP" not in answer_of(address, wire.encode(wire.Probe(id="p", sender="x")))
            with pytest.raises(TransportSecurityError):
                connect(address, 1 << 20, arrays, connecting(new_credentials()))
        session = credentials_of(split).session
        client = Client(split.addresses["end"], credentials=Credentials(session))
        request = wire.Request(
            id="r", program="p", route=[wire.Hop("end", "", 0, 1)], at=0, timeout_s=5.0, values=[]
        )
        with client.channel() as channel:
            channel.send(request, [])
            with pytest.raises(RequestError, match="transport security"):
                channel.receive("r", 5.0)
        client.close()
        assert torch.equal(y, split.infer_on("end:0-8", x))
        # Ray itself listens on every address; what guards it is its token.
        ports = {int(address.rpartition(":")[2]) for address in split.addresses.values()}
        bound = {host for host, port in listening(psutil.Process()) if port in ports}
        assert bound == {"127.0.0.1"}
        assert get_authentication_mode() == _TOKEN_MODE
        assert os.environ["RAY_AUTH_TOKEN"]


def test_sessions_do_not_share_a_key():
    with EdgeSplit(small_net()) as one, EdgeSplit(small_net()) as other:
        assert credentials_of(one) != credentials_of(other)


def test_none_is_an_explicit_choice_and_warns(x):
    split = EdgeSplit(small_net(), config=Config(transport_security="none"))
    with pytest.warns(InsecureTransportWarning, match="payloads are not encrypted"):
        split.open()
    with split:
        y = split.infer_on("end:0-3 | edge:3-5 | cloud:5-8", x)
        assert torch.equal(y, split.infer_on("end:0-8", x))
        plain = connecting(Credentials(credentials_of(split).session))
        link = connect(split.addresses["end"], 1 << 20, arrays, plain)
        link.send(wire.Probe(id="p", sender="x"))
        assert link.receive()[0] == wire.Echo(id="p")
        link.close()


def test_another_word_is_refused():
    with pytest.raises(UnknownNameError, match="one of tls, none, given 'curve'"):
        Config(transport_security="curve")
