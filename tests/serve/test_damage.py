"""What the service says when its gallery is damaged, or has no room left."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from intraclip.gallery.folder_files import FILE
from serve.serve_world import log


@pytest.fixture
def damaged(gallery):
    with closing(sqlite3.connect(Path(gallery.info.address) / FILE)) as db:
        db.execute(
            "UPDATE pictures SET jpeg = x'00' WHERE place = 0 AND number IN "
            "(SELECT number FROM tracklets WHERE id = 'p1_gate')"
        )
        db.commit()


@pytest.mark.usefixtures("damaged")
def test_damage_is_a_server_error_and_the_service_is_not_ready_from_then_on(api, gallery):
    assert api.get("/health/ready").status_code == 200  # nobody has met it yet
    answer = api.get("/api/v1/tracklet/strip", params={"id": "p1_gate"})
    assert answer.status_code == 500
    assert answer.json()["error"] == "internal_error"
    assert "the pictures of tracklet 'p1_gate'" in answer.json()["message"]
    assert gallery.info.address not in answer.text
    ready = api.get("/health/ready")
    assert (ready.status_code, ready.json()["message"]) == (503, "the gallery is damaged")
    assert api.get("/api/v1/tracklet/strip", params={"id": "p2_gate"}).status_code == 200
    assert api.get("/health/live").status_code == 200


def test_a_full_disk_is_not_ready(api, monkeypatch):
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as disk:
        disk.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        assert api.get("/health/ready").status_code == 503
    assert api.get("/health/ready").status_code == 200


def test_taking_back_what_nobody_said_leaves_no_line(api, gallery):
    pair = {"query": "p1_gate", "tracklet": "p1_hall"}
    assert api.delete("/api/v1/judgement", params=pair).status_code == 404
    assert api.delete("/api/v1/judgement", params={**pair, "tracklet": "nobody"}).status_code == 404
    assert log(gallery) == []
    api.put("/api/v1/judgement", json={**pair, "same": True})
    assert api.delete("/api/v1/judgement", params=pair).status_code == 204
    assert [e.action for e in log(gallery)] == ["retract", "confirm"]
