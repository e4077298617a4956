"""Telling other systems of alerts: one after the other, at least once, and nobody waits for it.

A sender reads the alerts from the gallery, where they are before anybody is told, and keeps there how far it came: what
could not be delivered is tried again, also after the program was killed. Alerts that are older than a day are not sent
any more.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from dataclasses import asdict
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from intraclip.errors import IntraclipError
from intraclip.gallery.gallery import Gallery
from intraclip.live.alerts import Alert, Alerts

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0
"""Before an alert is sent again; twice as long each time, and up to a quarter more by chance."""

OLDEST_S = 86_400.0

SENT = "sent"
"""Kind of paper that says how far a sender came."""


class NotDeliveredError(IntraclipError):
    """An alert did not arrive.

    Attributes:
        hopeless: whether it would not arrive the next time either.
    """

    def __init__(self, reason: str, *, hopeless: bool = False) -> None:
        self.hopeless = hopeless
        super().__init__(reason)


class Channel(Protocol):
    """A way to another system.

    Attributes:
        name: of it, for the log; holds no secret.
    """

    name: str

    def send(self, message: dict[str, Any], vector: list[float]) -> None:
        """Deliver an alert with the tracklet's vector; the message's ``id`` is the same each time that it is sent.

        Raises:
            NotDeliveredError: it did not arrive.
        """

    def close(self) -> None:
        """Hang up."""


def message_of(alert: Alert, gallery: Gallery) -> dict[str, Any]:
    """What other systems are told of an alert; no pictures."""
    told = {k: v for k, v in asdict(alert).items() if k != "said"}
    return {"kind": "intraclip-alert", "version": 1, **told, "model": gallery.info.fingerprint}


class Sender:
    """Sends alerts over a channel, in a thread.

    Attributes:
        failed: tries, not alerts.
        problem: why the last try failed; empty after one that did not.
        latencies: seconds from raising an alert to its arrival, of the last thousand.
    """

    def __init__(self, gallery: Gallery, channel: Channel, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        self.sent = self.failed = self.given_up = 0
        self.problem = ""
        self.latencies: deque[float] = deque(maxlen=1000)
        self._gallery = gallery
        self._alerts = Alerts(gallery)
        self._channel = channel
        self._first_wait_s = first_wait_s
        self._news = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender", daemon=True)

    def start(self) -> None:
        """Send what was not sent, and from then on what comes."""
        self._news.set()
        self._thread.start()

    def wake(self) -> None:
        """There is a new alert."""
        self._news.set()

    def stop(self) -> None:
        """End; a try that runs gets a few seconds."""
        self._stop.set()
        self._news.set()
        self._thread.join(5.0)
        self._channel.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._news.wait()
            self._news.clear()
            try:
                self._send_all()
            except IntraclipError as error:  # of the gallery: a full disk, or it was removed
                self.problem = str(error)
                self._stop.wait(self._first_wait_s)

    def _send_all(self) -> None:
        done = self._gallery.papers(SENT).get(self._channel.name, {}).get("last", "")
        for alert in self._alerts.each(after=done):
            if time.time() - alert.at < OLDEST_S:
                self._deliver(alert)
            if self._stop.is_set() and self.problem:
                return
            self._gallery.put_paper(SENT, self._channel.name, {"last": alert.id}, [], needs_all=False)

    def _deliver(self, alert: Alert) -> None:
        wait = self._first_wait_s
        while True:
            found = self._gallery.find_vectors([alert.tracklet])
            if not found:  # deleted meanwhile: then nobody is told any more
                return
            try:
                vector = [float(v) for v in found[alert.tracklet]]
                self._channel.send(message_of(alert, self._gallery), vector)
            except NotDeliveredError as error:
                self.failed += 1
                self.problem = str(error)
                if error.hopeless or time.time() - alert.at > OLDEST_S:
                    self.given_up += 1
                    self._gallery.audit(
                        "alert-not-sent", {"alert": alert.id, "reason": str(error)}, origin=self._channel.name
                    )
                    self.problem = ""
                    return
                if self._stop.wait(wait * random.uniform(1, 1.25)):
                    return
                wait = min(2 * wait, LONGEST_WAIT_S)
            else:
                self.sent += 1
                self.problem = ""
                self.latencies.append(max(0.0, time.time() - alert.at))
                return


def address(url: str) -> tuple[SplitResult, str | None, int | None]:
    """An address in its parts, with host and port; all of them empty if it is none."""
    try:
        parts = urlsplit(url)
        return parts, parts.hostname, parts.port
    except ValueError:
        return urlsplit(""), None, None


def body_of(message: dict[str, Any]) -> bytes:
    """A message as it travels: JSON in UTF-8, keys sorted."""
    return json.dumps(message, sort_keys=True, separators=(",", ":")).encode()
