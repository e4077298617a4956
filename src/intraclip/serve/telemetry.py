"""Structured logs and Prometheus metrics. Neither holds ids of tracklets, names of people, addresses or queries."""

from __future__ import annotations

import json
import logging
import secrets
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.datastructures import MutableHeaders

from intraclip.serve.errors import error_response
from intraclip.serve.security import App, Message, Receive, Scope, Send
from intraclip.serve.slots import Slots

if TYPE_CHECKING:
    from intraclip.live.status import LiveStatus

LOGGER = logging.getLogger("intraclip.serve")


class JsonLines(logging.Formatter):
    """A log record as one line of JSON. Of an error it gives the place in the code, not the values it speaks of."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["where"] = [
                f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
        return json.dumps(line)


def log_json(stream: TextIO) -> None:
    """Send this service's and the server's logs, and all that others warn of, to a stream, one JSON object a line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    for name in (LOGGER.name, "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").handlers = []  # its lines go on to "uvicorn"
    root = logging.getLogger()  # a logger without a handler would write plain text
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every damaged upload


class Metrics:
    """What `/metrics` shows; one registry an app, so that several may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "intraclip_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "intraclip_request_seconds", "Time to answer.", ["method", "route"], registry=self.registry
        )
        self.searches = Counter("intraclip_searches", "Searches made.", ["kind"], registry=self.registry)
        self.search_seconds = Histogram(
            "intraclip_search_seconds",
            "Time of a search, without waiting for a slot.",
            ["kind"],
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=self.registry,
        )
        self.running = Gauge("intraclip_requests_running", "Requests being answered.", registry=self.registry)
        self._busy = Gauge("intraclip_busy", "Slots in use.", ["kind"], registry=self.registry)
        self._waiting = Gauge("intraclip_waiting", "Waiting for a slot.", ["kind"], registry=self.registry)

    def watch(self, kind: str, slots: Slots) -> None:
        """Show how many wait for these slots, and how many have one."""
        self._waiting.labels(kind).set_function(lambda: slots.waiting)
        self._busy.labels(kind).set_function(lambda: slots.running)

    def watch_cameras(self, status: Callable[[], LiveStatus]) -> None:
        """Show how cameras are, by their numbers."""
        self.registry.register(_Cameras(status))

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return bytes(generate_latest(self.registry))


class _Cameras(Collector):
    """Asked when the metrics are."""

    def __init__(self, status: Callable[[], LiveStatus]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        status = self._status()
        counters = {
            "received": "Frames that came.",
            "dropped": "Frames left out because the machine was too slow.",
            "skipped": "Frames left out because fewer were asked for.",
            "searched": "Frames searched for people.",
            "carried": "Frames that tracks were carried over, as nobody can have moved far since the last search.",
            "failures": "Times that the camera could not be opened, or was lost.",
            "tracklets": "Tracklets that ended.",
        }
        for name, about in counters.items():
            what = f"frames_{name}" if "Frames" in about else name
            family = CounterMetricFamily(f"intraclip_camera_{what}", about, labels=["camera"])
            for camera in status.cameras:
                family.add_metric([str(camera.number)], getattr(camera, name))
            yield family
        people = GaugeMetricFamily("intraclip_camera_people", "Followed now.", labels=["camera"])
        up = GaugeMetricFamily("intraclip_camera_up", "1 while frames come.", labels=["camera"])
        for camera in status.cameras:
            people.add_metric([str(camera.number)], camera.people)
            up.add_metric([str(camera.number)], float(camera.state == "live"))
        yield from (people, up)
        yield CounterMetricFamily("intraclip_alerts", "Alerts raised.", value=status.alerts)
        yield GaugeMetricFamily(
            "intraclip_tracklets_waiting", "Tracklets that wait to be written.", value=status.waiting
        )


class Telemetry:
    """Gives every request a number, counts and logs it; an error nobody expected becomes a plain 500."""

    def __init__(self, app: App, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started, status, sent = secrets.token_hex(8), time.perf_counter(), 0, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            sent += len(message.get("body", b""))
            await send(message)

        with self._metrics.running.track_inprogress():
            try:
                await self._app(scope, receive, watched)
            except Exception:
                LOGGER.exception("failed", extra={"fields": {"request": request_id}})
                if not status:
                    answer = error_response(
                        500, f"something went wrong here; the log says more under request {request_id}"
                    )
                    await answer(scope, receive, watched)
        seconds = time.perf_counter() - started
        # The route's pattern, never the path: a scan of random paths must not make a new line each.
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        fields = {
            "request": request_id, "method": method, "route": route, "status": status,
            "ms": round(1000 * seconds, 1), "bytes": sent,
        }  # fmt: skip
        LOGGER.info("request", extra={"fields": fields})
