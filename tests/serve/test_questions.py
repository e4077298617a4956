"""Questions that the page asks, one at a time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from intraclip.gallery.gallery import Gallery, create_gallery
from intraclip.gallery.records import Filters, Pictures, TrackletRecord
from serve.serve_world import CHANGE, frame, jpeg, log
from serve.serve_world import client as serving

PEOPLE, CAMERAS = 10, 4
STRIP = jpeg(frame(0))


def who(name: str) -> str:
    return name.split("_")[0]


@pytest.fixture
def unsure(tmp_path):
    """A gallery of people whose vectors are so noisy that there is much to ask."""
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((PEOPLE, 24))
    vectors = np.repeat(centres, CAMERAS, axis=0) + 0.9 * rng.standard_normal((PEOPLE * CAMERAS, 24))
    records = [
        TrackletRecord(id=f"p{person}_{camera}", camera=f"c{camera}", camid=camera)
        for person in range(PEOPLE)
        for camera in range(1, CAMERAS + 1)
    ]
    with create_gallery(tmp_path / "people", fingerprint="f00d", dimension=24) as gallery:
        gallery.add(
            records,
            vectors.astype(np.float32),
            fingerprint="f00d",
            pictures=[Pictures(strip=STRIP)] * len(records),
        )
        yield gallery


@pytest.fixture
def client(unsure: Gallery):
    with serving(unsure, uploads=False) as made:
        yield made


def asked(client) -> tuple[str, str]:
    told = client.get("/api/v1/question").json()
    return told["query"]["id"], told["tracklet"]["id"]


def say(client, pair: tuple[str, str], same: bool) -> None:
    said = {"query": pair[0], "tracklet": pair[1], "same": same}
    assert client.put("/api/v1/judgement", json=said, headers=CHANGE).status_code == 200


def test_each_answer_leads_to_the_next_question(client, unsure: Gallery):
    seen = []
    for _ in range(6):
        pair = asked(client)
        assert asked(client) == pair  # until it is answered
        seen.append(frozenset(pair))
        say(client, pair, who(pair[0]) == who(pair[1]))
    assert len(set(seen)) == 6
    assert len(unsure.judgements()) == 6


def test_an_answer_taken_back_is_asked_for_again(client):
    first = asked(client)
    say(client, first, True)
    assert asked(client) != first
    query = {"query": first[1], "tracklet": first[0]}
    assert client.delete("/api/v1/judgement", params=query, headers=CHANGE).status_code == 204
    assert asked(client) == first


def test_who_cannot_tell_is_not_asked_again_unless_that_is_taken_back(client, unsure: Gallery):
    first = asked(client)
    pair = {"query": first[0], "tracklet": first[1]}
    assert client.put("/api/v1/unsure", json=pair, headers=CHANGE).status_code == 204
    assert asked(client) != first
    assert not unsure.judgements()
    assert client.delete("/api/v1/unsure", params=pair, headers=CHANGE).status_code == 204
    assert client.delete("/api/v1/unsure", params=pair, headers=CHANGE).status_code == 404
    assert asked(client) == first
    assert [e.action for e in log(unsure) if e.action in ("unsure", "retract")] == ["retract", "unsure"]


def test_who_was_looked_at_is_in_the_log(client, unsure: Gallery):
    pair = asked(client)
    shown = {name for e in log(unsure) if e.action == "question" for name in e.detail["tracklets"]}
    assert shown == set(pair)


def test_deleted_tracklets_and_those_without_pictures_are_not_asked_about(client, unsure: Gallery):
    first = asked(client)
    unsure.delete(Filters(ids=frozenset({first[0]})))
    assert first[0] not in asked(client)
    second = asked(client)
    record = unsure.record(second[1])
    vector = unsure.vectors([second[1]])
    unsure.delete(Filters(ids=frozenset({second[1]})))
    unsure.add([record], vector, fingerprint="f00d")
    assert second[1] not in asked(client)


def test_labels_answer_questions_too(client, unsure: Gallery):
    for person in range(PEOPLE):
        unsure.set_person([f"p{person}_{camera}" for camera in range(1, CAMERAS + 1)], f"number {person}")
    told = client.get("/api/v1/question").json()
    assert told["query"] is None
    assert "leaves no doubt" in told["reason"]


def test_too_few_tracklets_are_said(tmp_path):
    few = create_gallery(tmp_path / "few", fingerprint="f00d", dimension=4)
    with few, serving(few, uploads=False) as client:
        told = client.get("/api/v1/question").json()
        assert told["query"] is None
        assert "fewer than 16 tracklets" in told["reason"]


def test_a_pair_is_two_tracklets_that_are_there(client):
    for pair, status in ((("p0_1", "p0_1"), 422), (("p0_1", "x"), 404)):
        said = {"query": pair[0], "tracklet": pair[1]}
        assert client.put("/api/v1/unsure", json=said, headers=CHANGE).status_code == status


def test_choosing_questions_needs_no_pytorch():
    code = "import intraclip.adapt.questions, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
