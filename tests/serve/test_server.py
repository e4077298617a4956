"""The service as a process: it stops without losing a request, and cuts uploads off on a real socket."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time

import pytest

from intraclip.errors import OutputError
from intraclip.serve.server import listen
from intraclip.serve.settings import ServeSettings
from serve.serve_world import CHANGE


def ask(port, method, path, **more):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, **more)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def takes_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionError:
        return False
    return True


def test_a_request_that_runs_is_finished_before_it_stops(service):
    process, port, lines = service()
    body = json.dumps({"tracklet": "p1_gate"}).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        head = (
            f"POST /api/v1/search HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Intraclip: 1\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        connection.sendall(head.encode() + body[:5])
        assert connection.recv(2**16).startswith(b"HTTP/1.1 100")  # it has begun, and waits for the rest
        process.send_signal(signal.SIGTERM)
        while takes_connections(port):
            time.sleep(0.01)
        assert process.poll() is None
        connection.sendall(body[5:])
        answer = connection.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 200")
    assert process.wait(60) == 0
    told = lines()
    assert told[-1] == "closed"
    events = [json.loads(line) for line in told[:-1]]  # every other line is JSON
    assert next(e for e in events if e["event"] == "request")["status"] == 200
    assert "stopped" in [e["event"] for e in events]


def test_an_announced_upload_of_2_gb_is_refused_before_it_is_sent(service):
    _, port, _ = service()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            f"POST /api/v1/search/upload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Intraclip: 1\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n"
            f"Content-Length: {2 * 2**30}\r\n\r\n".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")  # not a byte of the body was sent


def test_an_upload_without_announced_length_is_cut_off_while_it_arrives(service):
    _, port, _ = service()
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            f"POST /api/v1/search/upload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Intraclip: 1\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
        try:
            while sent < 2 * 2**30:
                connection.sendall(chunk)
                sent += 2**16
        except (BrokenPipeError, ConnectionResetError):
            pass  # the service has hung up
    assert sent < 2**28
    assert ask(port, "GET", "/health/live")[0] == 200


def test_many_searches_at_once_are_all_answered(service):
    _, port, _ = service()
    found = []

    def search(person: int) -> None:
        body = json.dumps({"tracklet": f"p{person}_gate", "k": 3})
        found.append(
            ask(
                port,
                "POST",
                "/api/v1/search",
                body=body,
                headers={**CHANGE, "Content-Type": "application/json"},
            )
        )

    threads = [threading.Thread(target=search, args=(1 + i % 7,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for status, _ in found] == [200] * 12


def test_a_port_that_is_taken_is_an_error_with_a_remedy():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServeSettings(port=taken.getsockname()[1])
        with pytest.raises(OutputError, match="choose another --port"):
            listen(settings)
