"""Alerts on their way to other systems: signed, again after a failure, to one address only, and nobody waits."""

from __future__ import annotations

import http.server
import json
import socket
import struct
import threading
import time

import numpy as np
import pytest

from intraclip.errors import ConfigError
from intraclip.gallery.records import Filters, TrackletRecord
from intraclip.live.alerts import Alerts
from intraclip.live.mqtt import Mqtt
from intraclip.live.senders import NotDeliveredError, Sender
from intraclip.live.watchlist import Matcher, WatchList
from intraclip.live.webhook import Webhook, is_genuine
from live.live_world import make_gallery, until, vector

SECRET = "sixteen letters or more"


@pytest.fixture
def gallery(tmp_path):
    found = make_gallery(tmp_path / "people")
    WatchList(found).add(["red"], rate=0.001, name="anna")
    yield found
    found.close()


def alert(gallery, name):
    values = vector("red", 0.001, len(name))
    gallery.add([TrackletRecord(id=name, camera="cam1")], values[None], fingerprint=gallery.info.fingerprint)
    (hit,) = Matcher(gallery).match(name, values)
    return Alerts(gallery).raise_for(hit, name)


class Receiver(http.server.ThreadingHTTPServer):
    """Answers what it is told to, in this order, and 200 from then on."""

    def __init__(self, *answers: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/alerts"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


def sending(gallery, channel):
    return Sender(gallery, channel, first_wait_s=0.01)


def test_an_alert_arrives_signed_and_without_pictures(gallery):
    receiver = Receiver()
    sender = sending(gallery, Webhook(receiver.url, SECRET))
    sender.start()
    raised = alert(gallery, "new")
    sender.wake()
    until(lambda: sender.sent == 1)
    sender.stop()
    receiver.stop()
    ((headers, body),) = receiver.got
    assert is_genuine(headers["X-Intraclip-Signature"], SECRET.encode(), body, now=time.time())
    assert not is_genuine(headers["X-Intraclip-Signature"], b"another secret", body, now=time.time())
    assert not is_genuine(headers["X-Intraclip-Signature"], SECRET.encode(), body, now=time.time() + 1000)
    assert headers["X-Intraclip-Id"] == raised.id
    told = json.loads(body)
    assert (told["kind"], told["id"], told["name"], told["tracklet"]) == (
        "intraclip-alert",
        raised.id,
        "anna",
        "new",
    )
    assert "vector" not in told
    assert len(sender.latencies) == 1


def test_what_fails_is_sent_again_in_order_and_what_was_refused_is_given_up_with_a_line_in_the_log(gallery):
    receiver = Receiver(503, 429, 200, 400)
    alerts = [alert(gallery, name) for name in ("a", "bb", "ccc")]
    sender = sending(gallery, Webhook(receiver.url, SECRET))
    sender.start()
    until(lambda: sender.sent == 2)
    sender.stop()
    receiver.stop()
    ids = [headers["X-Intraclip-Id"] for headers, _ in receiver.got]
    assert ids == [alerts[0].id] * 3 + [alerts[1].id, alerts[2].id]
    assert (sender.failed, sender.given_up) == (3, 1)
    (line,) = [e for e in gallery.audit_log() if e.action == "alert-not-sent"]
    assert line.detail == {"alert": alerts[1].id, "reason": "the webhook answered 400"}
    assert SECRET not in json.dumps(line.detail) + line.origin


def test_what_was_not_delivered_is_sent_after_a_restart_and_nothing_twice(gallery):
    first = alert(gallery, "a")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/alerts"
    sender = sending(gallery, Webhook(url, SECRET))
    sender.start()
    until(lambda: sender.failed >= 2)
    assert "cannot be reached" in sender.problem
    sender.stop()
    receiver = Receiver()
    port = int(url.split(":")[2].partition("/")[0])
    receiver.stop()
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as again:
        again.got, again.answers = [], []  # type: ignore[attr-defined]
        threading.Thread(target=again.serve_forever, daemon=True).start()
        for _ in range(2):  # the second one has nothing to do
            later = sending(gallery, Webhook(url, SECRET))
            later.start()
            until(lambda: gallery.papers("sent").get(f"webhook {url}") is not None)
            later.stop()
        again.shutdown()
        assert [headers["X-Intraclip-Id"] for headers, _ in again.got] == [first.id]  # type: ignore[attr-defined]


def test_of_a_tracklet_that_was_deleted_nobody_is_told(gallery):
    alert(gallery, "a")
    gallery.delete(Filters(ids=frozenset({"a"})))
    second = alert(gallery, "bb")
    receiver = Receiver()
    sender = sending(gallery, Webhook(receiver.url, SECRET))
    sender.start()
    until(lambda: sender.sent == 1)
    sender.stop()
    receiver.stop()
    assert [headers["X-Intraclip-Id"] for headers, _ in receiver.got] == [second.id]


def test_no_redirect_is_followed_and_no_proxy_asked(gallery, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    receiver = Receiver(302)
    channel = Webhook(receiver.url, SECRET)
    with pytest.raises(NotDeliveredError, match="302") as error:
        channel.send({"id": "1"}, [])
    assert error.value.hopeless
    receiver.stop()
    assert len(receiver.got) == 1


def test_a_receiver_that_does_not_answer_keeps_nobody_waiting(gallery, monkeypatch):
    """Raising an alert and waking the sender return while it waits for the receiver."""
    monkeypatch.setattr("intraclip.live.webhook.TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = sending(gallery, Webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/", SECRET))
        sender.start()
        for name in ("a", "bb"):
            alert(gallery, name)
            sender.wake()
        until(lambda: sender.failed)
        sender.stop()
    assert sender.sent == 0


def test_wrong_addresses_and_secrets_are_refused_and_not_repeated():
    for url in ("ftp://host/a", "https://", "http://[/", "https://me:hidden-word@host/a"):
        with pytest.raises(ConfigError) as error:
            Webhook(url, SECRET)
        assert "hidden-word" not in str(error.value)
    with pytest.raises(ConfigError, match="16 characters"):
        Webhook("https://host/a", "short")
    assert Webhook("https://host:8443/a?token=hidden-word", SECRET).name == "webhook https://host:8443/a"
    pytest.importorskip("paho.mqtt.client")
    for url in ("http://host/a", "mqtt://host", "mqtt://host/a/#", "mqtt://me:hidden-word@host/a"):
        with pytest.raises(ConfigError) as error:
            Mqtt(url)
        assert "hidden-word" not in str(error.value)


class Broker:
    """As much of an MQTT 3.1.1 broker as takes what is published."""

    def __init__(self, *, answer: bytes = b"\x20\x02\x00\x00") -> None:
        self.answer = answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.got: list[tuple[str, dict[str, object]]] = []
        self.connects: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(1):
                length = shift = 0
                while True:
                    (byte,) = stream.read(1)
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                body = stream.read(length)
                if head[0] >> 4 == 1:
                    self.connects.append(body)
                    connection.sendall(self.answer)
                elif head[0] >> 4 == 3:
                    (size,) = struct.unpack_from("!H", body)
                    topic, number = body[2 : 2 + size].decode(), body[2 + size : 4 + size]
                    self.got.append((topic, json.loads(body[4 + size :])))
                    connection.sendall(b"\x40\x02" + number)
                elif head[0] >> 4 == 12:
                    connection.sendall(b"\xd0\x00")


def test_mqtt_brings_the_vector_and_connects_again(gallery):
    pytest.importorskip("paho.mqtt.client")
    broker = Broker()
    channel = Mqtt(f"mqtt://me@127.0.0.1:{broker.port}/site/alerts", password="hidden-word")
    sender = sending(gallery, channel)
    sender.start()
    for name in ("a", "bb"):
        alert(gallery, name)
        sender.wake()
        until(lambda: sender.sent == len(broker.got) > 0)
        channel.close()  # the connection was lost
    until(lambda: sender.sent == 2)
    sender.stop()
    broker.socket.close()
    assert [(topic, told["tracklet"]) for topic, told in broker.got] == [
        ("site/alerts", "a"),
        ("site/alerts", "bb"),
    ]
    np.testing.assert_allclose(broker.got[0][1]["vector"], gallery.vectors(["a"])[0], rtol=1e-6)
    assert len(broker.connects) == 2
    assert b"hidden-word" in broker.connects[0]


def test_a_broker_that_is_not_there_is_said_and_tried_again(gallery):
    pytest.importorskip("paho.mqtt.client")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    alert(gallery, "a")
    sender = sending(gallery, Mqtt(f"mqtt://127.0.0.1:{port}/alerts"))
    sender.start()
    until(lambda: sender.failed >= 2)
    assert "cannot be used" in sender.problem
    sender.stop()
    assert sender.sent == 0


def test_a_broker_that_refuses_the_password_is_said(gallery):
    pytest.importorskip("paho.mqtt.client")
    broker = Broker(answer=b"\x20\x02\x00\x05")
    channel = Mqtt(f"mqtt://me@127.0.0.1:{broker.port}/alerts", password="hidden-word")
    with pytest.raises(NotDeliveredError, match="refuses the connection") as error:
        channel.send({"id": "1"}, [])
    assert "hidden-word" not in str(error.value)
    broker.socket.close()
