import csv
import json
import tomllib
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from intraclip.cli.main import main
from intraclip.errors import ConfigError, OutputError
from intraclip.ingest.mot import read_mot
from intraclip.studio import Difficulty
from intraclip.studio.camera import PICTURE
from intraclip.studio.config import VideosConfig
from intraclip.studio.crowd import Crowd
from intraclip.studio.identity import draw_identity
from intraclip.studio.journeys import Visit, draw_ways, plan_visits, recurring
from intraclip.studio.place import open_place
from intraclip.studio.scene import render_scene
from intraclip.studio.videos import make_videos

SMALL = VideosConfig(people=4, cameras=2, seconds=4.0, fps=5.0, seed=3, width=320, together=0.5)
LONG = replace(SMALL, people=12, seconds=90.0)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    return make_videos(tmp_path_factory.mktemp("filmed") / "videos", SMALL, workers=1)


def bytes_of(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def visits_of(root):
    with (root / "ground_truth" / "visits.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def standing(pid, spot, *, camid=1, first=0):
    """Somebody who walks on the spot, away from the camera."""
    return Visit(
        pid=pid,
        camid=camid,
        first=first,
        place=np.tile(np.asarray(spot, dtype=np.float64), (2, 1)),
        heading=np.zeros(2),
        speed=1.3,
        companion=None,
    )


def people_in(*visits):
    return {person.pid: person for person in Crowd(SMALL, 1, visits).shot(0).people}


def in_the_middle(*, nearer=0.0, right=0.0):
    """A spot in the open, `nearer` metres along the line of sight and `right` metres beside it."""
    place = open_place(SMALL.seed, 1, SMALL.difficulty)
    return np.array([right, place.camera.distance * 0.9 - nearer])


def test_same_seed_gives_same_bytes_with_any_number_of_workers(filmed, tmp_path, capsys):
    flags = (
        "--people 4 --cameras 2 --seconds 4 --fps 5 --seed 3 --width 320 --together 0.5 --workers 2 --json"
    )
    assert main(["data", "make-videos", str(tmp_path / "again"), *flags.split()]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sha256"] == filmed.sha256
    assert told["boxes"] == filmed.boxes > 0
    assert bytes_of(tmp_path / "again") == bytes_of(filmed.root)


def test_videos_hold_the_frames_that_the_truth_speaks_of(filmed):
    crowd = Crowd(SMALL, 1, plan_visits(SMALL))
    capture = cv2.VideoCapture(str(filmed.root / "cam1.mp4"))
    decoded = []
    while (read := capture.read())[0]:
        decoded.append(read[1][..., ::-1].astype(np.float32))
    assert capture.get(cv2.CAP_PROP_FPS) == SMALL.fps
    capture.release()
    assert len(decoded) == SMALL.frames == 20
    assert decoded[0].shape == (180, 320, 3)
    for frame in (0, 19):
        drawn = crowd.shot(frame).picture.astype(np.float32)
        errors = [float(np.abs(drawn - other).mean()) for other in decoded]
        assert min(errors) == errors[frame] < 12


def test_boxes_enclose_the_people_that_are_drawn():
    alone = people_in(standing(1, in_the_middle()))[1]
    rows, columns = np.nonzero(alone.silhouette)
    assert (
        np.abs(np.array(alone.box) - [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).max()
        <= 1
    )
    assert alone.visibility > 0.95
    place = open_place(SMALL.seed, 1, SMALL.difficulty)
    who = draw_identity(SMALL.seed, 1, SMALL.difficulty)
    spot = in_the_middle()
    ends = place.camera.see(np.array([[*spot, 0.0], [*spot, who.build.height]])) * SMALL.width / PICTURE[0]
    assert alone.box[3] == pytest.approx(ends[0, 1], abs=4)
    assert alone.box[1] == pytest.approx(ends[1, 1], abs=4)
    assert alone.box[0] < ends[0, 0] < alone.box[2]


def test_the_nearer_person_hides_the_other_by_the_share_that_is_missing():
    far, near = standing(1, in_the_middle()), standing(2, in_the_middle(nearer=1.2, right=0.12))
    alone = people_in(far)[1]
    both = people_in(far, near)
    hidden = both[1]
    assert both[2].visibility > 0.95
    assert not (hidden.silhouette & both[2].silhouette).any()
    assert 0.02 < hidden.visibility < 0.8
    assert hidden.visibility == pytest.approx(hidden.silhouette.sum() / alone.silhouette.sum(), abs=0.1)
    assert hidden.box == alone.box  # the whole person, seen or not
    assert people_in(near, far)[1].visibility == hidden.visibility  # order of the list does not matter


def test_edges_of_the_picture_cut_boxes_and_visibility():
    place = open_place(SMALL.seed, 1, SMALL.difficulty)
    y = in_the_middle()[1]
    depth = float(place.camera.see(np.array([0.0, y, 0.9]))[2])
    edge = PICTURE[0] / 2 / place.camera.focal * depth
    side = next(s for s in (-1, 1) if place.walkable(np.array([s * edge, y])))  # there is a wall at the other
    cut = people_in(standing(1, (side * edge, y)))[1]
    assert (cut.box[0] if side < 0 else SMALL.width - cut.box[2]) == 0
    assert 0.2 < cut.visibility < 0.8
    assert cut.visibility < people_in(standing(1, (side * (edge - 0.2), y)))[1].visibility
    assert people_in(standing(1, (side * (edge + 1.0), y))) == {}


def test_walls_hide_whoever_is_behind_them():
    place = open_place(SMALL.seed, 1, SMALL.difficulty)
    beyond = float(place.walls[np.isfinite(place.walls)].max()) + 5
    behind = people_in(standing(1, (0.0, beyond)))
    assert not behind or behind[1].visibility < 0.3


def test_one_pid_is_one_person_in_one_place(filmed):
    rows = visits_of(filmed.root)
    assert {int(row["pid"]) for row in rows} <= set(range(1, SMALL.people + 1))
    assert len({(row["pid"], row["camid"]) for row in rows}) == len(rows) == filmed.visits
    for camid in (1, 2):
        lines = (filmed.root / "ground_truth" / f"cam{camid}.txt").read_text().split()
        keys = [tuple(map(int, line.split(",")[:2])) for line in lines]
        assert len(set(keys)) == len(keys)
        mine = {int(row["pid"]): row for row in rows if row["camid"] == str(camid)}
        assert set(mine) == {pid for _, pid in keys}
        for frame, pid in keys:
            assert int(mine[pid]["first_frame"]) <= frame <= int(mine[pid]["last_frame"])
    people = json.loads((filmed.root / "ground_truth" / "identities.json").read_text())
    assert people[1]["in_words"] == draw_identity(SMALL.seed, 2, SMALL.difficulty).in_words()


def test_everybody_comes_through_two_cameras_and_needs_time_between_them():
    visits = plan_visits(LONG)
    by_person = {pid: [v for v in visits if v.pid == pid] for pid in range(1, LONG.people + 1)}
    ways = draw_ways(LONG)
    for mine in by_person.values():
        assert Counter(v.camid for v in mine) == {1: 1, 2: 1}
        gap = (mine[1].first - mine[0].last) / LONG.fps
        assert ways[1, 2].minimum_s <= gap < 8 * ways[1, 2].usual_s
    pairs = {(v.pid, v.companion) for v in visits if v.companion}
    assert pairs
    assert all((other, pid) in pairs for pid, other in pairs)
    for pid, other in pairs:
        one, two = by_person[pid][0], by_person[other][0]
        assert one.first == two.first
        assert np.linalg.norm(one.place - two.place, axis=1).max() < 1.2


@pytest.mark.parametrize("seed", range(4))
def test_people_recur_in_short_videos(seed):
    config = VideosConfig(people=8, cameras=4, seconds=15, seed=seed)
    visits = plan_visits(config)
    assert len(recurring(config, visits)) >= 6
    for visit in visits:
        assert visit.last >= 0
        assert visit.first < config.frames


def test_longer_videos_are_as_they_were():
    """Those of the README: most people recur anyway."""
    config = VideosConfig(people=24, cameras=4, seconds=30, seed=7)
    visits = plan_visits(config)
    assert [(v.pid, v.camid, v.first) for v in visits[:5]] == [
        (1, 2, -86),
        (1, 4, 237),
        (2, 4, -35),
        (2, 2, 190),
        (3, 2, -36),
    ]
    assert len(recurring(config, visits)) == 16


def test_videos_too_short_to_search_in_say_so(tmp_path, capsys):
    flags = [
        "--people",
        "2",
        "--cameras",
        "2",
        "--seconds",
        "2",
        "--fps",
        "5",
        "--width",
        "320",
        "--workers",
        "1",
    ]
    assert main(["data", "make-videos", str(tmp_path / "brief"), *flags]) == 0
    assert "note: none of them are seen by two cameras or more" in capsys.readouterr().err


def test_people_enter_and_leave_and_stay_out_of_walls():
    for visit in plan_visits(LONG):
        place = open_place(LONG.seed, visit.camid, LONG.difficulty)
        seen = place.sees(visit.place)
        if visit.companion is None:
            assert not any(place.about(*spot)[1] for spot in visit.place[[0, -1]].tolist())
            assert (seen & ~place.walkable(visit.place)).sum() <= 10
        assert seen[len(seen) // 3 : 2 * len(seen) // 3].any()
        steps = np.linalg.norm(np.diff(visit.place, axis=0), axis=1) * LONG.fps
        assert np.median(steps) == pytest.approx(visit.speed, rel=0.25)


def test_more_people_are_more_people_in_view():
    few, many = (len(plan_visits(replace(LONG, people=n))) for n in (6, 12))
    assert many == 2 * few


def test_mot_files_are_read_by_ingest_and_by_the_trackers_library(filmed):
    found = read_mot(filmed.root / "ground_truth" / "cam2.txt")
    assert found.followed
    assert found.inside(height=SMALL.height, width=SMALL.width) is found
    assert found.frame.max() < SMALL.frames
    mot = pytest.importorskip("trackers.io.mot")
    theirs = mot.load_mot_file(filmed.root / "ground_truth" / "cam2.txt")
    lines = (filmed.root / "ground_truth" / "cam2.txt").read_text().split()
    assert sum(len(frame.ids) for frame in theirs.values()) == len(lines) >= len(found)
    assert {int(c) for frame in theirs.values() for c in frame.classes} == {1}


def test_travel_times_are_in_the_form_that_link_reads(filmed):
    told = tomllib.loads((filmed.root / "ground_truth" / "travel.toml").read_text())
    way = draw_ways(SMALL)[1, 2]
    assert told == {"travel": [{"cameras": [1, 2], "minimum_s": way.minimum_s, "usual_s": way.usual_s}]}
    assert 3.0 <= way.usual_s <= 8.0
    assert 0 < way.minimum_s < way.usual_s


def test_the_place_is_that_of_the_tracklets():
    place = open_place(SMALL.seed, 1, SMALL.difficulty)
    assert np.array_equal(place.coded, render_scene(SMALL.seed, place.camera))
    assert (place.depth <= place.walls).all()


def test_wrong_settings_are_all_told_at_once():
    with pytest.raises(ConfigError) as error:
        VideosConfig(people=1, cameras=1, width=333, travel=(5, 2), difficulty=Difficulty(muted=2))
    for word in ("people: 1", "cameras: 1", "width: 333", "travel: (5, 2)", "difficulty.muted: 2"):
        assert word in str(error.value)


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(OutputError, match="another folder"):
        make_videos(tmp_path, SMALL)
    assert bytes_of(tmp_path) == {"mine.txt": b"kept"}
    with pytest.raises(ConfigError, match="workers is 0"):
        make_videos(tmp_path / "new", SMALL, workers=0)


def test_a_video_that_cannot_be_written_is_an_error_and_the_folder_unfinished(tmp_path, monkeypatch):
    monkeypatch.setattr("intraclip.studio.videos.CODEC", "none")
    with pytest.raises(OutputError, match=r"cam1\.mp4 cannot be written"):
        make_videos(tmp_path / "new", SMALL, workers=1)
    assert not (tmp_path / "new" / "videos.json").exists()
