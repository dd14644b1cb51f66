"""Two ends of one real connection in this process, their handshake done."""

import contextlib
import socket
import threading

from edgesplit.node.transport import arrays
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.local_stream import connect_here, listen_here
from edgesplit.node.transport.security import UNSECURED, accepting, connecting

LIMIT_BYTES = 1 << 28
WAIT_S = 10.0


@contextlib.contextmanager
def connected(credentials=UNSECURED, is_local=False):
    """(near, far): by TCP, or within this host."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        host, port = listener.getsockname()
        if is_local:
            listener = stack.enter_context(listen_here(f"{host}:{port}"))
            near_socket = connect_here(f"{host}:{port}", WAIT_S)
        else:
            near_socket = socket.create_connection((host, port))
        far_socket = listener.accept()[0]
        near = Connection(near_socket, LIMIT_BYTES, arrays, connecting(credentials))
        stack.callback(near.close)
        far = Connection(far_socket, LIMIT_BYTES, arrays, accepting(credentials))
        stack.callback(far.close)
        greeting = threading.Thread(target=far.handshake)
        greeting.start()
        near.handshake()
        greeting.join(WAIT_S)
        yield near, far
