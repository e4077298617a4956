"""Searches by tracklet, what people say of the answers, and where a person was."""

from __future__ import annotations

import pytest

from intraclip.gallery.gallery import open_gallery
from serve.serve_world import ODD, client, local_client, log, make_gallery, tracklet_id


def matches(answer):
    assert answer.status_code == 200, answer.text
    return [m["tracklet"]["id"] for m in answer.json()["matches"]]


def test_the_person_is_found_in_the_other_cameras(api):
    answer = api.post("/api/v1/search", json={"tracklet": "p4_gate", "k": 5})
    assert set(matches(answer)[:2]) == {"p4_hall", "p4_yard"}
    found = answer.json()
    assert found["query"]["id"] == "p4_gate"
    distances = [m["distance"] for m in found["matches"]]
    assert distances == sorted(distances)
    likely = [m["probability"] for m in found["matches"]]
    assert likely == sorted(likely, reverse=True)
    assert likely[0] > 0.7 > 0.3 > likely[-1]
    assert {m["passes"] for m in found["matches"]} == {None}


def test_filters_and_the_own_camera(api):
    narrow = matches(api.post("/api/v1/search", json={"tracklet": "p4_gate", "camera": ["yard"], "k": 50}))
    assert narrow[0] == "p4_yard"
    assert len(narrow) == 8
    own = matches(api.post("/api/v1/search", json={"tracklet": "p4_gate", "own_camera": True, "k": 50}))
    assert len(own) == 23
    assert "p4_gate" not in own


def test_a_false_match_rate_says_which_answers_pass(api):
    answer = api.post("/api/v1/search", json={"tracklet": "p4_gate", "false_match_rate": 0.1, "k": 16}).json()
    passes = [m["passes"] for m in answer["matches"]]
    assert passes[:2] == [True, True]
    assert passes == sorted(passes, reverse=True)
    assert passes == [m["distance"] < answer["threshold"] for m in answer["matches"]]
    assert not passes[-1]


@pytest.mark.parametrize("rate", [0, 1, -1, "x", 1e-9])
def test_an_impossible_rate_is_refused(api, rate):
    answer = api.post("/api/v1/search", json={"tracklet": "p4_gate", "false_match_rate": rate})
    assert answer.status_code == 422


def test_a_rate_without_a_calibration_is_refused_with_the_remedy(tmp_path):
    with make_gallery(tmp_path / "g", calibrated=False) as gallery, client(gallery) as api:
        answer = api.post("/api/v1/search", json={"tracklet": "p4_gate", "false_match_rate": 0.1})
        assert answer.status_code == 409
        assert "intraclip gallery calibrate" in answer.json()["message"]
        assert not api.get("/api/v1/stats").json()["calibrated"]
        assert not log(gallery)


@pytest.mark.parametrize(
    "body", [{}, {"tracklet": ""}, {"tracklet": "p4_gate", "k": 0}, {"tracklet": "p4_gate", "camrea": []}]
)
def test_a_wrong_search_is_refused(api, body):
    assert api.post("/api/v1/search", json=body).status_code == 422


def test_a_search_sees_what_another_process_changed(api, gallery):
    with open_gallery(gallery.info.address) as other:
        from intraclip.gallery.records import Filters

        other.delete(Filters(ids=frozenset({"p4_hall"})))
    assert "p4_hall" not in matches(api.post("/api/v1/search", json={"tracklet": "p4_gate", "k": 50}))


# -- judgements --------------------------------------------------------------------------------------------


def judge(api, query, tracklet, same):
    return api.put("/api/v1/judgement", json={"query": query, "tracklet": tracklet, "same": same})


def test_a_judgement_is_kept_shown_and_taken_back(api, gallery):
    assert judge(api, "p4_gate", "p4_hall", True).json()["by"] == "alice"
    judge(api, "p4_gate", "p5_hall", False)
    judge(api, "p4_yard", "p4_gate", True)  # seen from the other side it holds too
    found = api.post("/api/v1/search", json={"tracklet": "p4_gate", "k": 50}).json()["matches"]
    said = {m["tracklet"]["id"]: m["judged"] for m in found if m["judged"] is not None}
    assert said == {"p4_hall": True, "p5_hall": False, "p4_yard": True}
    assert (
        api.delete("/api/v1/judgement", params={"query": "p4_gate", "tracklet": "p5_hall"}).status_code == 204
    )
    assert (
        api.delete("/api/v1/judgement", params={"query": "p4_gate", "tracklet": "p5_hall"}).status_code == 404
    )
    assert [(j.query, j.tracklet, j.same) for j in gallery.judgements()] == [
        ("p4_gate", "p4_hall", True),
        ("p4_yard", "p4_gate", True),
    ]
    assert len(api.get("/api/v1/judgements").json()) == 2


def test_judgements_about_nothing_are_refused(api, gallery):
    assert judge(api, "p4_gate", "p4_gate", True).status_code == 422
    assert judge(api, "p4_gate", "nobody", True).status_code == 404
    assert api.put("/api/v1/person", json={"ids": ["p4_gate", "nobody"], "person": "Ann"}).status_code == 404
    assert not gallery.judgements()
    assert not gallery.stats().people


# -- timelines ---------------------------------------------------------------------------------------------


def test_a_timeline_follows_what_was_confirmed_by_way_of_others(api):
    judge(api, "p4_gate", "p4_hall", True)
    judge(api, "p4_hall", "p4_yard", True)
    api.put("/api/v1/person", json={"ids": ["p4_yard", ODD], "person": "Ann"})
    found = api.get("/api/v1/timeline", params={"tracklet": "p4_gate"}).json()
    assert [t["id"] for t in found["tracklets"]] == [ODD, "p4_gate", "p4_hall", "p4_yard"]  # in order of time
    assert found["person"] == "Ann"
    assert found["cameras"] == {"gate": 1, "hall": 1, "yard": 2}
    assert not found["conflicts"]
    by_label = api.get("/api/v1/timeline", params={"person": "Ann"}).json()
    assert [t["id"] for t in by_label["tracklets"]] == [ODD, "p4_yard"]


def test_a_timeline_shows_contradictions(api):
    judge(api, "p4_gate", "p4_hall", True)
    judge(api, "p4_hall", "p4_yard", True)
    judge(api, "p4_gate", "p4_yard", False)
    found = api.get("/api/v1/timeline", params={"tracklet": "p4_gate"}).json()
    assert [(c["query"], c["tracklet"]) for c in found["conflicts"]] == [("p4_gate", "p4_yard")]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 422),
        ({"person": "a", "tracklet": "b"}, 422),
        ({"person": "nobody"}, 404),
        ({"tracklet": "nobody"}, 404),
    ],
)
def test_a_timeline_of_nobody_is_refused(api, params, status):
    assert api.get("/api/v1/timeline", params=params).status_code == status


def test_stats_and_openapi(api, gallery):
    found = api.get("/api/v1/stats").json()
    assert (found["tracklets"], found["cameras"]) == (24, {"gate": 8, "hall": 8, "yard": 8})
    assert found["uploads"]
    assert "address" not in found
    document = api.get("/api/v1/openapi.json").json()
    assert "/api/v1/search/upload" in document["paths"]
    assert set(document["paths"]["/api/v1/tracklet"]) == {"get"}
    assert gallery.info.address not in str(document)


def test_the_local_page_needs_no_token(gallery):
    with local_client(gallery) as api:
        assert "Log out" not in api.get("/").text
        assert api.get("/login").status_code == 303
        assert api.get("/api/v1/stats").json()["actor"] == "local"
        found = api.post("/api/v1/search", json={"tracklet": tracklet_id(2, 0)}, headers={"X-Intraclip": "1"})
        assert found.status_code == 200
