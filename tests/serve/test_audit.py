"""Whatever shows or changes people is in the gallery's log once, with who and from where."""

from __future__ import annotations

import threading

import pytest

from intraclip.errors import OutputError
from intraclip.serve.looks import AGAIN_S, Looks
from serve.serve_world import client, frame, jpeg

ALICE = ("alice", "testclient")


def lines(gallery):
    """Oldest first: what was done, and what the line says beside who and from where."""
    found = []
    for entry in reversed(gallery.audit_log()):
        assert (entry.actor, entry.origin) == ALICE
        found.append((entry.action, entry.detail))
    return found


@pytest.mark.parametrize(
    ("path", "params", "expected"),
    [
        ("tracklet", {"id": "p1_gate"}, ("look", {"tracklets": ["p1_gate"]})),
        ("tracklet/strip", {"id": "p1_gate"}, ("look", {"tracklets": ["p1_gate"]})),
        ("tracklet/frames/2", {"id": "p1_gate"}, ("look", {"tracklets": ["p1_gate"]})),
        ("tracklets", {"person": "Ann"}, ("list", {"shown": 0, "filters": {"people": 1}})),
        ("timeline", {"tracklet": "p1_gate"}, ("timeline", {"tracklet": "p1_gate", "shown": 1})),
        ("people", {}, ("people", {})),
        ("stats", {}, ("people", {})),
        ("judgements", {}, ("judgements", {})),
    ],
)  # fmt: skip
def test_what_shows_people_leaves_a_line(api, gallery, path, params, expected):
    assert api.get(f"/api/v1/{path}", params=params).status_code == 200
    assert lines(gallery) == [expected]


def test_what_is_not_there_leaves_no_line(api, gallery):
    for path in ("tracklet", "tracklet/strip", "tracklet/frames/2", "timeline"):
        name = "tracklet" if path == "timeline" else "id"
        assert api.get(f"/api/v1/{path}", params={name: "nobody"}).status_code == 404
    assert api.get("/api/v1/tracklet/frames/99", params={"id": "p1_gate"}).status_code == 404
    assert (
        api.request(
            "DELETE", "/api/v1/judgement", params={"query": "p1_gate", "tracklet": "p1_hall"}
        ).status_code
        == 404
    )
    assert (
        api.request(
            "DELETE", "/api/v1/judgement", params={"query": "p1_gate", "tracklet": "nobody"}
        ).status_code
        == 404
    )
    assert not gallery.audit_log()


def test_a_tracklet_that_is_looked_at_in_all_its_frames_is_one_line(api, gallery):
    for _ in range(2):
        api.get("/api/v1/tracklet", params={"id": "p1_gate"})
        api.get("/api/v1/tracklet/strip", params={"id": "p1_gate"})
        for number in range(6):
            api.get(f"/api/v1/tracklet/frames/{number}", params={"id": "p1_gate"})
    assert lines(gallery) == [("look", {"tracklets": ["p1_gate"]})]


def test_nothing_is_shown_that_cannot_be_logged(api, gallery, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(gallery, "audit", full)
    for path, params in (
        ("tracklet/strip", {"id": "p1_gate"}),
        ("tracklets", {}),
        ("timeline", {"tracklet": "p1_gate"}),
    ):
        for _ in range(2):  # a look that could not be logged does not count as one
            answer = api.get(f"/api/v1/{path}", params=params)
            assert (answer.status_code, answer.json()["message"]) == (503, "the disk is full")


def test_each_change_is_one_line(api, gallery):
    pair = {"query": "p1_gate", "tracklet": "p1_hall"}
    api.put("/api/v1/judgement", json={**pair, "same": True})
    api.request("DELETE", "/api/v1/judgement", params={"query": "p1_hall", "tracklet": "p1_gate"})
    api.put("/api/v1/person", json={"ids": ["p1_gate"], "person": "Smith [/]"})
    api.post("/api/v1/search", json={"tracklet": "p1_gate", "k": 3})
    api.post("/api/v1/search/upload", params={"k": 3}, files={"files": ("x", jpeg(frame(1)))})
    api.post("/api/v1/deletions", json={"person": "Smith [/]"})
    assert lines(gallery) == [
        ("confirm", pair),
        ("retract", {"query": "p1_hall", "tracklet": "p1_gate"}),
        ("label", {"ids": ["p1_gate"]}),
        ("search", {"tracklet": "p1_gate", "k": 3}),
        ("search-upload", {"files": 1, "pictures": 1, "k": 3}),
        ("delete", {"ids": ["p1_gate"], "by_person": True}),
    ]


def test_failed_logins_leave_a_line_with_where_from(gallery):
    with client(gallery) as api:
        del api.headers["Authorization"]
        api.post("/login", data={"token": "wrong"}, headers={"Origin": "http://testserver"})
        api.get("/api/v1/stats", headers={"Authorization": "Bearer wrong"})
        api.get("/api/v1/stats")  # without any token is no attempt
    assert [(e.action, e.actor, e.origin) for e in gallery.audit_log()] == 2 * [
        ("login-failed", "", "testclient")
    ]


def test_behind_a_proxy_its_last_word_tells_where_from(gallery):
    forwarded = {"X-Forwarded-For": "10.6.6.6, 10.0.0.7"}
    for settings, expected in (({"proxy": True}, "10.0.0.7"), ({}, "testclient")):
        with client(gallery, **settings) as api:
            api.post("/api/v1/search", json={"tracklet": "p1_gate"}, headers=forwarded)
        assert gallery.audit_log()[0].origin == expected


# -- many looks at once ------------------------------------------------------------------------------------


def test_looks_at_the_same_time_share_a_line_and_all_wait_for_it():
    written, may_write = [], threading.Event()

    def write(who, items):
        may_write.wait()
        written.append((who, sorted(items)))

    looks = Looks(write)
    ready = threading.Barrier(9)
    seen = []

    def look(number):
        ready.wait()
        looks.note(("look", "alice", "here"), f"t{number}")
        seen.append(bool(written))

    threads = [threading.Thread(target=look, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    assert not seen
    may_write.set()
    for thread in threads:
        thread.join()
    assert seen == [True] * 8
    assert sorted(item for _, items in written for item in items) == [f"t{n}" for n in range(8)]


def test_a_look_is_logged_again_after_a_while_and_for_somebody_else():
    written, now = [], [0.0]
    looks = Looks(lambda who, items: written.append((who[1], items)), lambda: now[0])
    for at, name in ((0, "alice"), (AGAIN_S - 1, "alice"), (AGAIN_S - 1, "bob"), (AGAIN_S, "alice")):
        now[0] = at
        looks.note(("look", name, "here"), "t1")
    assert [name for name, _ in written] == ["alice", "bob", "alice"]
