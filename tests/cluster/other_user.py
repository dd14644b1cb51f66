"""Another user of this machine: what he may do with files, and with Ray's ports without the token.

Nothing here needs a package: he runs in a fork that has given up its rights.
"""

import http.client
import json
import os
import socket
import struct
import warnings
from pathlib import Path

NOBODY = 65534
LIMIT_S = 10.0


def as_nobody(do):
    """What do() returns, as plain values, called by the user `nobody`. Needs root."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child starts nothing
        pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, json.dumps(do()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def attempts(folder, files, sockets):
    """What he gets away with in a folder of another user whose contents he knows of."""
    moved = folder.with_name(f"{folder.name}-moved")
    tries = {
        "list": lambda: list(os.scandir(folder)),
        "move away": lambda: folder.rename(moved),
        "open up": lambda: folder.chmod(0o777),
        "put a folder in": lambda: (folder / "mine").mkdir(),
    }
    for path in files:
        tries |= {
            f"look at {path}": path.stat,
            f"list {path}": lambda p=path: list(os.scandir(p)),
            f"read {path}": path.read_bytes,
            f"write {path}": lambda p=path: p.open("r+b").close(),
            f"replace {path}": lambda p=path: Path("/dev/null").rename(p),
            f"remove {path}": path.unlink,
            f"link beside {path}": lambda p=path: p.with_name("link").symlink_to("/etc/passwd"),
        }
    tries |= {f"connect to {path}": lambda p=path: _connect(p) for path in sockets}
    return [name for name, do in tries.items() if _succeeds(do)]


def _succeeds(do):
    try:
        do()
    except OSError:
        return False
    return True


def _connect(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))


def grpc_status(port, method):
    """gRPC's status for an empty call without any token; None where nothing intelligible comes."""
    header = b"".join(
        b"\x00" + bytes([len(word)]) + word + bytes([len(value)]) + value
        for word, value in [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", method.encode()),
            (b":authority", b"x"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        ]
    )
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as one:
        one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b""))
        one.sendall(_frame(1, 4, 1, header) + _frame(0, 1, 1, bytes(5)))
        said = b""
        while (value := _value(said, b"grpc-status")) is None:
            more = one.recv(1 << 16)
            if not more:
                return None
            said += more
    return int(value)


def _value(said, name):
    """Of a header that was sent as it is; None until all of it is there."""
    _, found, rest = said.partition(name)
    return rest[1 : 1 + rest[0]] if found and rest and len(rest) > rest[0] else None


def _frame(kind, flags, stream, payload):
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload
    )


def http_status(host, port, path):
    """HTTP's status for an empty POST without any token."""
    connection = http.client.HTTPConnection(host, port, timeout=LIMIT_S)
    try:
        connection.request("POST", path, b"")
        return connection.getresponse().status
    finally:
        connection.close()
