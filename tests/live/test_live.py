"""Cameras to gallery to alerts, in one process and in one that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.gallery.gallery import create_gallery, open_gallery
from intraclip.gallery.records import Filters, TrackletRecord
from intraclip.live.alerts import Alerts
from intraclip.live.live import Live
from intraclip.live.settings import LiveSettings
from intraclip.live.watchlist import WatchList
from live.live_world import (
    CONFIG,
    ColourDetector,
    camera,
    make_gallery,
    network,
    until,
    vector,
    walk,
    write_clip,
)

FAST = LiveSettings(speed=0.0, look_s=0.2, first_wait_s=0.05, alert_gap_s=0.0)


@pytest.fixture
def gallery(tmp_path):
    found = make_gallery(tmp_path / "people")
    yield found
    found.close()


def live_of(gallery, clips, *, settings=FAST, detector=None, config=CONFIG, **more):
    cameras = [camera(clip, number) for number, clip in enumerate(clips, start=1)]
    return Live(gallery, network(), detector or ColourDetector(), cameras, config, settings, **more)


def found_in(gallery):
    return sorted((r.camera, r.id) for r in gallery.all_records(Filters(exclude_cameras=frozenset({"door"}))))


def test_people_of_several_cameras_are_in_the_gallery_when_files_are_over(gallery, tmp_path):
    clips = [write_clip(tmp_path / f"{n}.avi", walk(n)) for n in ("red", "blue")]
    with live_of(gallery, clips) as live:
        assert live.wait(60)
        status = live.status()
    assert [name for name, _ in found_in(gallery)] == ["cam1", "cam2"]
    assert [r.camera for r in gallery.all_records(Filters(cameras=frozenset({"cam1"})))] == ["cam1"]
    match = gallery.search_tracklet("red", k=1).matches[0]
    assert (match.record.camera, match.record.source) == ("cam1", str(clips[0]))
    assert (status.tracklets, status.alerts, status.problems) == (2, 0, ())
    assert [(c.state, c.received, c.tracklets) for c in status.cameras] == [("ended", 24, 1)] * 2
    assert all(c.searched + c.carried + c.dropped + c.skipped == c.received for c in status.cameras)
    assert [e.action for e in gallery.audit_log()] == ["live-ended", "live"]


def test_somebody_on_the_watch_list_raises_one_alert(gallery, tmp_path):
    WatchList(gallery).add(["red"], rate=0.001, name="anna")
    clips = [write_clip(tmp_path / f"{n}.avi", walk(n)) for n in ("blue", "red")]
    live, told = live_of(gallery, clips), []
    live.on_alert = told.append
    with live:
        assert live.wait(60)
    (alert,) = Alerts(gallery).read()
    assert [told] == [[replace(alert, said=None)]]
    assert (alert.name, alert.camera, alert.reference) == ("anna", "cam2", "red")
    assert gallery.record(alert.tracklet).camera == "cam2"
    learned = WatchList(gallery).learned()[alert.watched]
    assert learned.compared == 2
    assert len(live.latencies) == 2


def test_parts_of_one_stay_raise_one_alert(gallery, tmp_path):
    WatchList(gallery).add(["green"], rate=0.001)
    clip = write_clip(tmp_path / "stay.avi", lambda _: [("green", 80)], frames=60)
    with live_of(gallery, [clip], settings=replace(FAST, longest_s=1.5)) as live:
        assert live.wait(60)
    assert len(found_in(gallery)) >= 3
    assert len(Alerts(gallery).read()) == 1


def test_between_two_alerts_about_one_person_in_one_camera_there_is_a_gap(gallery, tmp_path):
    WatchList(gallery).add(["red"], rate=0.001)

    def twice(number):
        return walk("red")(number % 25)

    clip = write_clip(tmp_path / "twice.avi", twice, frames=50)
    with live_of(gallery, [clip], settings=replace(FAST, alert_gap_s=1000.0)) as live:
        assert live.wait(60)
    assert len(found_in(gallery)) == 2
    assert len(Alerts(gallery).read()) == 1


def test_a_machine_that_is_too_slow_drops_frames_and_says_how_many(gallery, tmp_path):
    clip = write_clip(tmp_path / "clip.avi", walk("red"), frames=24)
    detector, go = ColourDetector(), threading.Event()
    detector.wait = lambda: go.wait(60)
    every = replace(CONFIG, quality="full")  # else frames in which nobody can have moved far are not searched
    settings = replace(FAST, speed=1000.0)
    live = Live(gallery, network(), detector, [camera(clip, 1)], every, settings)
    with live:
        until(lambda: live.status().cameras[0].received == 24)
        go.set()
        assert live.wait(60)
        status = live.status().cameras[0]
    assert status.searched + status.dropped == 24
    assert status.dropped > 15
    assert detector.calls == status.searched


def test_between_two_searches_tracks_are_carried_and_the_counts_say_so(gallery, tmp_path):
    clip = write_clip(tmp_path / "clip.avi", walk("red", step=3), frames=50)
    detector = ColourDetector()
    with live_of(gallery, [clip], detector=detector) as live:
        assert live.wait(60)
        status = live.status().cameras[0]
    assert status.tracklets == 1
    assert detector.calls == status.searched
    assert status.searched + status.carried == status.received == 50
    assert status.carried > status.searched


def test_a_camera_that_takes_long_does_not_hold_up_the_other(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    clips = [write_clip(tmp_path / f"{n}.avi", walk(n)) for n in ("red", "blue")]
    detector, go, held = ColourDetector(), threading.Event(), threading.Event()
    detector.wait = lambda: None if held.is_set() else (held.set(), go.wait(60))
    with live_of(gallery, clips, detector=detector) as live:
        until(lambda: any(c.tracklets for c in live.status().cameras))
        assert sorted(c.searched > 0 for c in live.status().cameras) == [False, True]
        go.set()
        assert live.wait(60)
    assert [name for name, _ in found_in(gallery)] == ["cam1", "cam2"]


class NearSighted(ColourDetector):
    """Finds people in small pictures only, as if shrinking lost them."""

    height, width = 128, 96

    def __call__(self, image):
        return super().__call__(image if image.shape[1] <= self.width else np.zeros_like(image))


@pytest.mark.parametrize("tiling", ["on", "off", "auto"])
def test_the_first_frames_say_whether_small_people_are_searched_for(gallery, tmp_path, tiling):
    clip = write_clip(
        tmp_path / "clip.avi", lambda n: [("green", 40 + n % 2), ("red", 120 - n % 2)], frames=100
    )
    live = live_of(gallery, [clip], detector=NearSighted(), config=replace(CONFIG, tiling=tiling))
    with live:
        assert live.wait(60)
        assert live.status().cameras[0].tiled == (tiling != "off")
    assert len(found_in(gallery)) == (0 if tiling == "off" else 2)


def test_who_is_in_the_picture_when_it_is_stopped_is_written(gallery, tmp_path):
    clip = write_clip(tmp_path / "stay.avi", lambda _: [("green", 80)], frames=40)
    live = live_of(gallery, [clip], settings=replace(FAST, loop=True))
    live.start()
    until(lambda: live.status().cameras[0].people and live.status().cameras[0].carried > 12)
    live.stop()
    assert len(found_in(gallery)) >= 1
    assert not live.status().running


def test_a_disk_without_room_is_waited_for_and_nothing_is_lost(gallery, tmp_path, monkeypatch):
    clip = write_clip(tmp_path / "clip.avi", walk("red"))
    add, tried = gallery.add, []

    def full_at_first(*args, **kwargs):
        tried.append(live.status().problems)
        if len(tried) < 2:
            raise OutputError("the disk is full")
        return add(*args, **kwargs)

    monkeypatch.setattr(gallery, "add", full_at_first)
    with live_of(gallery, [clip]) as live:
        until(lambda: live.status().problems == ("the disk is full",))
        assert live.wait(60)
        assert live.status().problems == ()
    assert len(found_in(gallery)) == 1


def test_retention_deletes_what_is_old_but_not_who_is_looked_for(gallery, tmp_path):
    old = [TrackletRecord(id=f"old{n}", camera="door", started_at=1.6e9) for n in range(3)]
    vectors = np.stack([vector("red", 0.01, n) for n in range(3)])
    gallery.add(old, vectors, fingerprint=gallery.info.fingerprint)
    WatchList(gallery).add(["old1"], rate=0.001)
    clip = write_clip(tmp_path / "clip.avi", walk("blue"))
    with live_of(gallery, [clip], settings=replace(FAST, keep_s=86_400.0), actor="me") as live:
        assert live.wait(60)
        until(lambda: live.status().deleted == 2)
    assert gallery.find(["old0", "old1", "old2"]).keys() == {"old1"}
    (line,) = [e for e in gallery.audit_log() if e.action == "delete"]
    assert (line.actor, line.origin) == ("me", "retention")
    assert line.detail == {"ids": ["old0", "old2"], "older_than_s": 86_400.0}


def test_what_cannot_be_watched_is_refused(gallery, tmp_path):
    with pytest.raises(ConfigError, match="at least one camera"):
        live_of(gallery, [])
    with pytest.raises(ConfigError, match="look_s: 0 must be above 0; keep_s: -1 is too small, at least 0"):
        LiveSettings(look_s=0, keep_s=-1)
    other = create_gallery(tmp_path / "other", fingerprint="0" * 64, dimension=3)
    with pytest.raises(DataError, match="another model"):
        live_of(other, ["clip.mp4"])
    other.close()


KILLED = """
import sys
from pathlib import Path
from live.live_world import CONFIG, ColourDetector, camera, network
from intraclip.gallery.gallery import open_gallery
from intraclip.live.live import Live
from intraclip.live.settings import LiveSettings
gallery = open_gallery(sys.argv[1])
live = Live(gallery, network(), ColourDetector(), [camera(sys.argv[2])], CONFIG,
            LiveSettings(speed=0.0, look_s=0.2, loop=True, alert_gap_s=0.0))
live.on_alert = lambda alert: print(alert.tracklet, flush=True)
with live:
    live.wait()
"""


def test_what_had_ended_survives_sigkill_with_its_alert(gallery, tmp_path):
    WatchList(gallery).add(["red"], rate=0.001)
    clip = write_clip(tmp_path / "clip.avi", walk("red"))
    gallery.close()
    tests = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path / "people", clip],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tests}:{tests.parent / 'src'}"},
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(2)]
        process.send_signal(signal.SIGKILL)
    with open_gallery(tmp_path / "people") as after:
        assert after.check() == []
        assert after.find(said).keys() == set(said)
        assert set(said) <= {a.tracklet for a in Alerts(after).read()}
        # And it goes on: ids of another run are others.
        with live_of(after, [clip]) as live:
            assert live.wait(60)
        assert len(found_in(after)) > len(said)


def test_lost_frames_of_a_camera_end_tracklets_by_the_clock(gallery, tmp_path):
    """A file that vanishes while it is read looks like a camera whose cable was cut."""
    clip = write_clip(tmp_path / "stay.avi", lambda _: [("green", 80)], frames=40)
    live = live_of(gallery, [clip], settings=replace(FAST, loop=True))
    shutil.move(clip, tmp_path / "aside.avi")
    with live:
        until(lambda: live.status().cameras[0].failures >= 2)
        assert live.status().cameras[0].state in ("waiting", "connecting")
        assert "there is no video" in live.status().cameras[0].problem
        shutil.move(tmp_path / "aside.avi", clip)
        until(lambda: live.status().cameras[0].people)
        clip.unlink()
        until(lambda: live.status().tracklets >= 1 and not live.status().cameras[0].people)
