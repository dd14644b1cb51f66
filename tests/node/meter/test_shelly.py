"""The plug against a real HTTP server on loopback, also one that stays silent or talks nonsense."""

import contextlib
import json
import math
import socket
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edgesplit.errors import MeterError
from edgesplit.node.meter.sensor.shelly import ShellySensor

STATUS = {
    "id": 0, "source": "init", "output": True, "apower": 8.3, "voltage": 231.4, "current": 0.06,
    "aenergy": {"total": 812.5, "by_minute": [138.2, 138.0, 137.9], "minute_ts": 1718000000},
}  # fmt: skip


@contextlib.contextmanager
def plug(body, code=200):
    """A plug that answers with body; yields its address and the paths it was asked for."""
    asked = []
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
        assert not thread.is_alive()


@contextlib.contextmanager
def listener():
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def error_of(url, **options):
    with pytest.raises(MeterError) as caught:
        ShellySensor(url, **options).open()
    assert url in caught.value.reason
    assert caught.value.fix
    return caught.value


def test_watts_of_the_plug():
    with plug(STATUS) as (url, asked):
        sensor = ShellySensor(url, clock=iter([1.0, 1.0, 4.0, 5.0]).__next__)
        sensor.open()
        reading = sensor.read()
        sensor.close()
        sensor.close()
    assert asked == ["/rpc/Switch.GetStatus?id=0"] * 2
    assert (reading.watts, reading.joules) == (8.3, None)
    assert reading.at_s == 4.5  # the middle of the answer


def test_what_it_is():
    info = ShellySensor("http://192.168.1.50").info
    assert (info.id, info.scope, info.kind) == ("shelly", "wall", "power")
    assert (info.update_s, info.averaging_s) == (1.0, 1.0)
    assert math.isnan(info.rel_accuracy)
    assert "unverified" in info.provenance
    assert "http://192.168.1.50" in info.provenance


def test_a_plug_that_is_off_draws_nothing():
    with plug(STATUS | {"output": False, "apower": 0}) as (url, _):
        assert ShellySensor(url).read().watts == 0.0


def test_a_slash_at_the_end_is_no_matter():
    with plug(STATUS) as (url, asked):
        ShellySensor(f"{url}/plug/").open()
    assert asked == ["/plug/rpc/Switch.GetStatus?id=0"]


def test_a_proxy_is_not_asked_for_a_plug(monkeypatch):
    with listener() as silent, plug(STATUS) as (url, _):
        monkeypatch.setenv("http_proxy", silent)
        monkeypatch.setenv("no_proxy", "")
        assert ShellySensor(url, timeout_s=5.0).read().watts == 8.3


def test_a_server_that_never_answers(monkeypatch):
    limits_s, ask = [], urllib.request.OpenerDirector.open

    def limited(opener, url, timeout):
        limits_s.append(timeout)
        return ask(opener, url, timeout=timeout)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", limited)
    with listener() as url:
        error = error_of(url, timeout_s=0.1)
    assert limits_s == [0.1]  # not the time limit that it has by itself
    assert "no answer in 0.1 s" in error.reason
    assert "curl" in error.fix


def test_nobody_listens():
    with listener() as url:
        pass
    assert "cannot be reached" in error_of(url).reason


@pytest.mark.parametrize(
    ("code", "said", "fix"),
    [(404, "HTTP 404", "curl"), (500, "HTTP 500", "curl"), (401, "HTTP 401", "Authentication")],
)
def test_an_http_error(code, said, fix):
    with plug(STATUS, code) as (url, _):
        error = error_of(url)
    assert said in error.reason
    assert fix in error.fix


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"\xff\xfe\x00", b""])
def test_an_answer_that_is_no_json(body):
    with plug(body) as (url, _):
        assert "no JSON" in error_of(url).reason


@pytest.mark.parametrize(
    "body",
    [
        {key: value for key, value in STATUS.items() if key != "apower"},
        STATUS | {"apower": None},
        STATUS | {"apower": "8.3"},
        STATUS | {"apower": True},
        [8.3],
        8.3,
    ],
)
def test_an_answer_without_watts(body):
    with plug(body) as (url, _):
        assert "apower" in error_of(url).reason


def test_watts_that_are_not_finite():
    with plug(b'{"apower": NaN}') as (url, _):
        assert "nan" in error_of(url).reason


@pytest.mark.parametrize("said", [b"\x00\x01 garbage\r\n", b""])
def test_something_that_does_not_speak_http(said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        error = error_of(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join(timeout=5)
    assert not thread.is_alive()
    assert "broke off" in error.reason


@pytest.mark.parametrize(
    "url",
    [
        "192.168.1.50",
        "ftp://192.168.1.50",
        "file:///etc/passwd",
        "http://",
        "http://plug:port",
        "http://[::1",
        "http://plug/?a=1",
        "",
    ],
)
def test_an_address_that_cannot_be(url):
    with pytest.raises(MeterError) as caught:
        ShellySensor(url)
    assert repr(url) in caught.value.reason
    assert "http://192.168.1.50" in caught.value.fix


def test_an_address_with_a_gap():
    assert "broke off" in error_of("http://127.0.0.1:1/a b").reason
