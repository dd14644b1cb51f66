"""Runs on a host: serve bytes for ever, or time how long some take to be taken in.

traffic.py serve ADDRESS
traffic.py time ADDRESS BYTES...   prints seconds, a line each
"""

import socket
import sys
import threading
import time

PORT = 7000
TIMEOUT_S = 3.0


def serve(address):
    listener = socket.create_server((address, PORT))
    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def answer(connection):
    while head := connection.recv(8):
        left = int.from_bytes(head, "big")
        while left:
            left -= len(connection.recv(min(left, 1 << 20)))
        connection.sendall(b"k")


def measure(address, sizes):
    with socket.create_connection((address, PORT), timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in sizes:
            start_s = time.perf_counter()
            connection.sendall(size.to_bytes(8, "big") + bytes(size))
            connection.recv(1)
            print(time.perf_counter() - start_s)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        measure(sys.argv[2], [int(word) for word in sys.argv[3:]])
