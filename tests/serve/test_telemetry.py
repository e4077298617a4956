"""Logs and metrics say how the service is, and nothing about anybody."""

from __future__ import annotations

import io
import json
import logging

import anyio
import pytest

from intraclip.serve.errors import Refused
from intraclip.serve.slots import Slots
from intraclip.serve.telemetry import LOGGER, JsonLines
from serve.serve_world import frame, jpeg


@pytest.fixture
def lines():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    level = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    LOGGER.removeHandler(handler)
    LOGGER.setLevel(level)


def test_a_request_is_one_line_of_json_without_ids(api, lines):
    answer = api.get("/api/v1/tracklet", params={"id": "p2_hall"})
    api.post("/api/v1/search/upload", files={"files": ("holiday.jpg", jpeg(frame(1)))})
    first, second = [line for line in lines() if line["event"] == "request"]
    assert first["route"] == "/api/v1/tracklet"
    assert (first["method"], first["status"], first["level"]) == ("GET", 200, "info")
    assert first["request"] == answer.headers["X-Request-Id"]
    assert first["bytes"] == len(answer.content)
    text = json.dumps([first, second])
    for word in ("p2_hall", "alice", "holiday", "testclient", "?"):
        assert word not in text


def test_an_unexpected_error_is_a_plain_500_and_its_values_stay_out_of_the_log(
    api, gallery, monkeypatch, lines
):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the name of somebody")

    monkeypatch.setattr(gallery, "page", broken)
    answer = api.get("/api/v1/tracklets")
    assert answer.status_code == 500
    assert answer.json()["error"] == "internal_error"
    failed = next(line for line in lines() if line["event"] == "failed")
    assert failed["error"] == "ZeroDivisionError"
    assert failed["request"] == answer.headers["X-Request-Id"]
    assert any("broken" in place for place in failed["where"])
    assert "somebody" not in answer.text + json.dumps(failed)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_metrics_count_requests_by_route_and_searches(api):
    api.post("/api/v1/search", json={"tracklet": "p1_gate"})
    api.post("/api/v1/search", json={"tracklet": "nobody"})
    for path in ("a", "b"):
        api.get(f"/scan/{path}")
    text = api.get("/metrics").text
    assert 'intraclip_searches_total{kind="tracklet"} 1.0' in text
    assert 'intraclip_requests_total{method="POST",route="/api/v1/search",status="200"} 1.0' in text
    assert 'intraclip_requests_total{method="POST",route="/api/v1/search",status="404"} 1.0' in text
    assert 'route="none",status="404"} 2.0' in text  # random paths make no lines of their own
    assert "p1_gate" not in text
    assert 'intraclip_waiting{kind="search"} 0.0' in text


def test_readiness_fails_when_the_gallery_does(api, gallery):
    assert api.get("/health/ready").status_code == 200
    api.app.state.context.stopping = True
    assert api.get("/health/ready").status_code == 503
    api.app.state.context.stopping = False
    gallery.close()
    assert api.get("/health/ready").status_code == 503
    assert api.get("/health/live").status_code == 200


def test_slots_bound_what_runs_and_what_waits():
    running, most, refused = 0, 0, 0

    async def main() -> None:
        slots = Slots(2, 3)
        release = anyio.Event()
        begun = 0

        def work() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            anyio.from_thread.run(release.wait)
            running -= 1

        async def one() -> None:
            nonlocal refused, begun
            begun += 1
            try:
                await slots.run(work)
            except Refused as error:
                refused += error.status_code == 503

        async with anyio.create_task_group() as tasks:
            for _ in range(9):
                tasks.start_soon(one)
            while begun < 9 or running < 2:
                await anyio.sleep(0.001)
            assert slots.waiting == 3
            release.set()

    anyio.run(main)
    assert (most, refused) == (2, 4)
