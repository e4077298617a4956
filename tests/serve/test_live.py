"""The watch-list, alerts and cameras over HTTP."""

from __future__ import annotations

import pytest

from intraclip.live.alerts import Alerts
from intraclip.live.status import CameraStatus, LiveStatus
from intraclip.live.watchlist import Matcher, WatchList
from intraclip.serve.app import create_app
from intraclip.serve.settings import ServeSettings
from serve.serve_world import CHANGE, client, log, make_gallery, tracklet_id, vector


def watched(api, person=3, **more):
    return api.post(
        "/api/v1/watch-list",
        json={"tracklets": [tracklet_id(person, 0)], "name": "anna", "rate": 0.1, **more},
        headers=CHANGE,
    )


def alert(gallery, person=3):
    """An alert about the person's tracklet in the next camera."""
    name = tracklet_id(person, 1)
    (hit,) = Matcher(gallery).match(name, vector(person, 1))
    return Alerts(gallery).raise_for(hit, name)


def test_a_person_is_put_on_the_list_found_judged_and_taken_off(api, gallery):
    answer = watched(api)
    assert answer.status_code == 200
    assert [t["id"] for t in answer.json()["tracklets"]] == ["p3_gate"]
    raised = alert(gallery)
    (found,) = api.get("/api/v1/alerts").json()
    assert (found["id"], found["name"], found["tracklet"]["id"], found["reference"]["id"]) == (
        raised.id, "anna", "p3_hall", "p3_gate",
    )  # fmt: skip
    assert found["said"] is None
    assert api.get("/api/v1/alerts", params={"after": raised.id}).json() == []
    said = {"query": "p3_gate", "tracklet": "p3_hall", "same": True}
    assert api.put("/api/v1/judgement", json=said, headers=CHANGE).status_code == 200
    assert api.get("/api/v1/alerts").json()[0]["said"] is True
    (person,) = api.get("/api/v1/watch-list").json()
    assert (person["alerts"], person["confirmed"], person["rejected"]) == (1, 1, 0)
    assert api.delete("/api/v1/watch-list", params={"id": person["id"]}, headers=CHANGE).status_code == 204
    assert api.delete("/api/v1/watch-list", params={"id": person["id"]}, headers=CHANGE).status_code == 404
    assert api.get("/api/v1/watch-list").json() == []
    assert [e.action for e in log(gallery) if e.action in ("watch", "unwatch")] == ["unwatch", "watch"]
    assert "anna" not in str([e.detail for e in gallery.audit_log()])


def test_looking_at_alerts_and_the_list_is_logged(api, gallery):
    api.get("/api/v1/alerts")
    api.get("/api/v1/watch-list")
    assert {"alerts", "watch-list"} <= {e.action for e in gallery.audit_log()}


def test_a_deleted_tracklet_takes_its_alerts_along(api, gallery):
    watched(api)
    alert(gallery)
    api.post("/api/v1/deletions", json={"ids": ["p3_gate"]}, headers=CHANGE)
    assert api.get("/api/v1/alerts").json() == []
    assert api.get("/api/v1/watch-list").json() == []


def test_what_cannot_be_looked_for_is_refused(api, gallery, tmp_path):
    assert watched(api, tracklets=["nobody"]).status_code == 404
    assert watched(api, rate=1e-9).status_code == 422
    assert watched(api, name="a\nb").status_code == 422
    assert watched(api, tracklets=[]).status_code == 422
    assert WatchList(gallery).people() == []
    bare = make_gallery(tmp_path / "bare", calibrated=False)
    assert watched(client(bare)).status_code == 409
    bare.close()


class Cameras:
    """A `Live` that says how two cameras are."""

    def status(self):
        camera = CameraStatus(
            number=1, name="cam1", source="rtsp://10.0.0.7/live", state="live", problem="", width=960, height=540,
            fps=10.0, followed_fps=4.5, received=100, skipped=0, dropped=55, searched=30, carried=15, connections=1,
            failures=0, tiled=True, people=3, tracklets=7, left_out={"short": 2},
        )  # fmt: skip
        lost = {**{f: getattr(camera, f) for f in camera.__dataclass_fields__}, "number": 2, "name": "yard"}
        lost |= {"state": "waiting", "problem": "rtsp://10.0.0.8/live cannot be opened", "people": 0}
        return LiveStatus(
            running=True, seconds=60.0, cameras=(camera, CameraStatus(**lost)), tracklets=14, alerts=1, waiting=0,
            deleted=0, latency_p95=1.4, problems=(),
        )  # fmt: skip


@pytest.fixture
def watching(gallery):
    from fastapi.testclient import TestClient

    app = create_app(gallery, ServeSettings(), live=Cameras())
    return TestClient(app, base_url="http://127.0.0.1:8000")


def test_cameras_are_told_with_their_counts_and_a_service_without_any_says_so(api, watching):
    assert api.get("/api/v1/live").json()["watching"] is False
    told = watching.get("/api/v1/live").json()
    assert told["watching"]
    assert [(c["name"], c["state"], c["dropped"]) for c in told["cameras"]] == [
        ("cam1", "live", 55),
        ("yard", "waiting", 55),
    ]


def test_metrics_count_frames_by_the_cameras_number_and_name_nobody(watching):
    text = watching.get("/metrics").text
    for line in (
        'intraclip_camera_frames_dropped_total{camera="1"} 55.0',
        'intraclip_camera_frames_searched_total{camera="1"} 30.0',
        'intraclip_camera_frames_carried_total{camera="1"} 15.0',
        'intraclip_camera_up{camera="2"} 0.0',
        'intraclip_camera_people{camera="1"} 3.0',
        "intraclip_alerts_total 1.0",
    ):
        assert line in text
    assert "10.0.0" not in text
    assert "yard" not in text
