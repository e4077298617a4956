"""One camera, frame by frame: when tracklets end, what they hold, and that nothing grows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from intraclip.live.follow import KEPT, CameraFollower
from intraclip.live.settings import LiveSettings
from live.live_world import CONFIG, ColourDetector, camera, frames_of, network, picture, vector, walk


def follower(**settings):
    detector, config = ColourDetector(), settings.pop("config", CONFIG)
    given = LiveSettings(**{"look_s": 0.2, **settings})
    return CameraFollower(
        camera=camera("clip"), detect=lambda frame: detector(frame.image), config=config, settings=given,
        embedder=network().live(), fps=10.0, session="cam1_x", source="clip",
    )  # fmt: skip


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_tracklet_ends_when_the_person_has_left_and_holds_who_it_was():
    watched = follower()
    ended = [e for frame in frames_of(walk("red"), 30) for e in watched.step(frame)]
    assert [e.record.id for e in ended] == ["cam1_x_t00001"]
    record = ended[0].record
    assert (record.camera, record.camid, record.source) == ("cam1", 1, "clip")
    assert record.started_at == 1.79e9 + record.start_s
    assert 0.1 <= record.start_s <= 0.3
    assert 1.4 <= record.end_s <= 2.0
    assert record.num_frames > 10
    assert len(record.boxes) == len(ended[0].pictures.crops) > 3
    assert ended[0].pictures.strip
    assert cosine(ended[0].vector, vector("red")) > 0.99
    assert watched.people == 0


def test_a_tracklet_begins_before_the_tracker_was_sure_of_it():
    starts = {}
    for quality in ("full", "balanced"):
        watched = follower(config=replace(CONFIG, quality=quality))
        (one,) = [e for frame in frames_of(walk("red", start=5, step=3), 80) for e in watched.step(frame)]
        starts[quality] = one.record.start_s
        assert one.record.started_at == 1.79e9 + one.record.start_s
    assert starts["balanced"] <= 0.6 < starts["full"]


def test_its_embedding_is_that_of_extraction_of_the_same_pictures():
    watched, known = follower(), network("all")
    ended = [e for frame in frames_of(walk("blue"), 30) for e in watched.step(frame)]
    crops = [
        picture(walk("blue")(box.frame))[
            round(box.top) : round(box.top + box.height),
            round(max(box.left, 0)) : round(box.left + box.width),
        ][..., ::-1]
        for box in ended[0].record.boxes
    ]
    assert cosine(ended[0].vector, known.embed([crops])[0]) > 0.999


def test_who_stays_enters_in_parts_and_what_is_held_does_not_grow():
    watched = follower(longest_s=20.0)
    ended = []
    for frame in frames_of(lambda _: [("green", 80)], 600):
        ended += watched.step(frame)
        (track,) = watched._tracks.values() or (None,)
        if track is not None:
            assert len(track.kept) < 2 * KEPT
            assert len(track.boxes) <= 40
    ended += watched.leave()
    assert [e.record.id for e in ended] == ["cam1_x_t00001", "cam1_x_t00001p2", "cam1_x_t00001p3"]
    assert {e.track for e in ended} == {"cam1_x_t00001"}
    times = [(e.record.start_s, e.record.end_s) for e in ended]
    assert all(before[1] <= after[0] for before, after in pairwise(times))
    assert len(watched.embedder) == 0


def test_a_cut_ends_everybody_and_nobody_is_joined_across_it():
    watched = follower()
    frames = list(frames_of(lambda _: [("green", 80)], 20))
    ended = [e for frame in frames[:10] for e in watched.step(frame)]
    ended += watched.step(replace(frames[10], cut=True))
    assert [e.record.id for e in ended] == ["cam1_x_t00001"]
    ended += [e for frame in frames[11:] for e in watched.step(frame)]
    ended += watched.leave()
    assert [e.record.id for e in ended] == ["cam1_x_t00001", "cam1_x_t00002"]


def test_who_was_hardly_seen_is_dropped_and_counted():
    watched = follower()
    assert [e for f in frames_of(lambda n: [("red", 80)] if n < 5 else [], 20) for e in watched.step(f)] == []
    assert watched.dropped["short"] == 1
    assert len(watched.embedder) == 0


def test_gates_of_ingest_keep_people_at_the_border_out_of_the_embedding():
    # Half of the person is beyond the border all the time that the box touches it.
    watched = follower(least_looks=1)
    ended = [e for f in frames_of(walk("red", step=4, left=60), 50) for e in watched.step(f)]
    assert len(ended) == 1
    assert max(box.left + box.width for box in ended[0].record.boxes) <= 160
    assert min(box.width for box in ended[0].record.boxes) > 16
