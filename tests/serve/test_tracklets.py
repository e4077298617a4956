"""Lists, one tracklet, its pictures; deletion; the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from intraclip.errors import OutputError
from intraclip.gallery.gallery import open_gallery
from serve.serve_world import CAMERAS, ODD, PEOPLE, log, tracklet_id

ALL = sorted(tracklet_id(p, c) for p in range(PEOPLE) for c in range(len(CAMERAS)))


def ids(answer):
    return [t["id"] for t in answer.json()["tracklets"]]


def test_pages_follow_each_other_without_gaps_or_repetitions(api):
    found, cursor, pages = [], "", 0
    while True:
        answer = api.get("/api/v1/tracklets", params={"limit": 5, "cursor": cursor})
        found += ids(answer)
        pages += 1
        cursor = answer.json()["cursor"]
        if not cursor:
            break
    assert found == ALL
    assert pages == 5


def test_a_page_goes_on_where_it_was_when_tracklets_are_deleted_meanwhile(api):
    first = api.get("/api/v1/tracklets", params={"limit": 4})
    api.post("/api/v1/deletions", json={"ids": ids(first)[-1:]})
    second = api.get("/api/v1/tracklets", params={"limit": 4, "cursor": first.json()["cursor"]})
    assert ids(second) == ALL[4:8]


def test_filters_hold_together(api):
    api.put("/api/v1/person", json={"ids": ["p1_gate", "p1_hall"], "person": "Ann"})
    assert ids(api.get("/api/v1/tracklets", params={"camera": "gate"})) == [
        f"p{p}_gate" for p in range(PEOPLE)
    ]
    assert ids(api.get("/api/v1/tracklets", params={"camera": ["gate", "yard"], "person": "Ann"})) == [
        "p1_gate"
    ]
    assert ids(api.get("/api/v1/tracklets", params={"from_s": 85, "to_s": 100})) == ["p1_hall", "p1_yard"]
    assert ids(api.get("/api/v1/tracklets", params={"since": 1.79e9 + 430})) == ["p7_hall", "p7_yard"]


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0}, {"limit": 100_000}, {"limit": "x"}, {"from_s": "nan"}, {"from_s": "inf"}, {"camrea": "gate"},
        {"cursor": "x" * 600}, {"camera": "a\nb"},
    ],
)  # fmt: skip
def test_wrong_values_are_refused_by_name_and_not_repeated(api, params):
    answer = api.get("/api/v1/tracklets", params=params)
    assert answer.status_code == 422
    assert answer.json()["error"] == "invalid"
    assert next(iter(params)) in answer.json()["message"]


def test_a_tracklet_its_strip_and_its_frames(api, gallery):
    found = api.get("/api/v1/tracklet", params={"id": "p2_hall"}).json()
    assert (found["camera"], found["frames"], found["strip"]) == ("hall", 6, True)
    strip = api.get("/api/v1/tracklet/strip", params={"id": "p2_hall"})
    assert strip.headers["Content-Type"] == "image/jpeg"
    assert strip.content == gallery.strip("p2_hall")  # noqa: B005
    frames = [api.get(f"/api/v1/tracklet/frames/{n}", params={"id": "p2_hall"}) for n in range(6)]
    assert tuple(f.content for f in frames) == gallery.crops("p2_hall")
    assert api.get("/api/v1/tracklet/frames/6", params={"id": "p2_hall"}).status_code == 404
    assert api.get("/api/v1/tracklet/frames/-1", params={"id": "p2_hall"}).status_code == 422


def test_what_is_not_there_is_404_without_the_gallerys_path(api, gallery):
    for path in ("tracklet", "tracklet/strip", "tracklet/frames/0"):
        answer = api.get(f"/api/v1/{path}", params={"id": "nobody"})
        assert answer.status_code == 404
        assert gallery.info.address not in answer.text
    assert api.get("/api/v1/nothing").json()["error"] == "not_found"


# -- deletion ----------------------------------------------------------------------------------------------


def test_deletion_really_deletes_and_says_what(api, gallery):
    api.put("/api/v1/judgement", json={"query": "p3_gate", "tracklet": "p3_hall", "same": True})
    strip = gallery.strip("p3_gate")[-200:]  # less than a page of the database, which splits what is longer
    assert any(strip in f.read_bytes() for f in Path(gallery.info.address).iterdir())
    would = api.post("/api/v1/deletions", json={"ids": ["p3_gate"], "dry_run": True}).json()
    assert would["dry_run"]
    assert gallery.stats().tracklets == 24
    gone = api.post("/api/v1/deletions", json={"ids": ["p3_gate"]}).json()
    assert gone["ids"] == would["ids"] == ["p3_gate"]
    assert (gone["pictures"], gone["judgements"], gone["cameras"]) == (7, 1, {"gate": 1})
    for path in ("tracklet", "tracklet/strip", "tracklet/frames/0"):
        assert api.get(f"/api/v1/{path}", params={"id": "p3_gate"}).status_code == 404
    assert api.post("/api/v1/search", json={"tracklet": "p3_gate"}).status_code == 404
    matches = api.post("/api/v1/search", json={"tracklet": "p3_hall", "k": 100}).json()["matches"]
    assert "p3_gate" not in [m["tracklet"]["id"] for m in matches]
    with open_gallery(gallery.info.address) as again:
        assert again.stats().tracklets == 23
        assert not again.judgements()
    assert gone["complete"]
    assert not any(strip in f.read_bytes() for f in Path(gallery.info.address).iterdir())


def test_a_person_is_deleted_as_a_whole(api, gallery):
    api.put("/api/v1/person", json={"ids": ["p1_gate", "p1_hall"], "person": "Ann"})
    gone = api.post("/api/v1/deletions", json={"person": "Ann"}).json()
    assert gone["ids"] == ["p1_gate", "p1_hall"]
    assert gone["people"] == {"Ann": 2}
    assert gallery.stats().tracklets == 22
    assert api.get("/api/v1/people").json() == []
    assert "Ann" not in api.get("/api/v1/audit").text  # the log outlives the person


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ids": []},
        {"ids": ["p1_gate"], "person": "Ann"},
        {"person": ""},
        {"id": "p1_gate"},
        {"camera": "gate"},
        [],
    ],
)
def test_a_deletion_that_does_not_say_what_deletes_nothing(api, gallery, body):
    assert api.post("/api/v1/deletions", json=body).status_code == 422
    assert gallery.stats().tracklets == 24


def test_deleting_what_is_not_there_is_404(api, gallery):
    assert api.post("/api/v1/deletions", json={"ids": ["nobody"]}).status_code == 404
    assert api.post("/api/v1/deletions", json={"person": "nobody"}).status_code == 404
    assert not log(gallery)


# -- the log -----------------------------------------------------------------------------------------------


def test_the_log_says_who_did_what_to_which(api):
    api.post("/api/v1/search", json={"tracklet": "p1_gate", "person": ["Ann"], "camera": ["hall"]})
    api.put("/api/v1/judgement", json={"query": "p1_gate", "tracklet": "p1_hall", "same": True})
    api.delete("/api/v1/judgement", params={"query": "p1_gate", "tracklet": "p1_hall"})
    api.put("/api/v1/person", json={"ids": ["p1_gate"], "person": "Ann"})
    api.post("/api/v1/deletions", json={"ids": [ODD]})
    entries = api.get("/api/v1/audit").json()["entries"]
    assert [e["action"] for e in entries] == ["delete", "label", "retract", "confirm", "search"]
    assert {e["actor"] for e in entries} == {"alice"}
    assert entries[0]["detail"]["ids"] == [ODD]
    assert entries[-1]["detail"] == {
        "tracklet": "p1_gate",
        "k": 20,
        "filters": {"cameras": ["hall"], "people": 1},
    }
    assert all(e["at"] > 1.7e9 for e in entries)


def test_the_log_has_pages_and_no_way_to_change_it(api):
    for person in range(5):
        api.post("/api/v1/search", json={"tracklet": f"p{person}_gate"})
    first = api.get("/api/v1/audit", params={"limit": 3}).json()
    rest = api.get("/api/v1/audit", params={"limit": 3, "before": first["cursor"]}).json()
    assert [e["detail"]["tracklet"] for e in first["entries"] + rest["entries"]] == [
        f"p{p}_gate" for p in (4, 3, 2, 1, 0)
    ]
    assert rest["cursor"] is None
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert api.request(method, "/api/v1/audit").status_code == 405


def test_what_cannot_be_logged_is_not_done(api, gallery, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OutputError(f"the gallery {gallery.info.address} cannot be used: the disk is full")

    monkeypatch.setattr(gallery, "audit", full)
    for answer in (
        api.post("/api/v1/search", json={"tracklet": "p1_gate"}),
        api.post("/api/v1/deletions", json={"ids": ["p1_gate"]}),
    ):
        assert answer.status_code == 503
        assert "the disk is full" in answer.json()["message"]
        assert gallery.info.address not in answer.text
    assert gallery.stats().tracklets == 24
