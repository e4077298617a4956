import json
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from intraclip.cli.main import main
from intraclip.data.readers import read_split
from intraclip.errors import ConfigError, OutputError
from intraclip.studio import Diverse, DiverseConfig, make_diverse, render_arrays
from intraclip.studio.camera import draw_camera
from intraclip.studio.config import Difficulty
from intraclip.studio.diverse import by_camera, plan_visits, render_visit
from intraclip.studio.diverse_camera import Film, draw_diverse_camera
from intraclip.studio.diverse_person import draw_diverse_identity
from intraclip.studio.diverse_place import render_diverse_place
from intraclip.studio.identity import draw_identity
from intraclip.studio.scene import render_scene

SMALL = DiverseConfig(identities=3, visits=2, frames=3, cameras=3, seed=5, height=96, width=48)
NONE = Diverse(cameras=False, light=False, places=False, outfits=False)


@pytest.fixture(scope="module")
def arrays():
    return render_arrays(SMALL, workers=1)


def test_any_number_of_workers_gives_the_same_arrays(arrays):
    again = render_arrays(SMALL, workers=2)
    for field in fields(arrays):
        np.testing.assert_array_equal(
            getattr(again, field.name), getattr(arrays, field.name), err_msg=field.name
        )


def test_arrays_are_ordered_by_person_visit_and_time(arrays):
    assert arrays.frames.shape == (18, 96, 48, 3)
    assert arrays.frames.dtype == np.uint8
    assert arrays.pids.tolist() == [1] * 6 + [2] * 6 + [3] * 6
    assert arrays.tracklets.tolist() == np.repeat(np.arange(6), 3).tolist()
    visit = plan_visits(SMALL)[3]
    np.testing.assert_array_equal(arrays.frames[9:12], render_visit(visit, SMALL).frames)
    assert set(arrays.camids[9:12].tolist()) == {visit.camid}


def test_people_are_seen_and_the_truth_says_how_well(arrays):
    for truth in (arrays.visible, arrays.area, arrays.inside):
        assert np.all((truth > 0) & (truth <= 1 + 1e-6))
    assert np.median(arrays.area) > 0.2  # a person fills a good part of a detected box
    assert np.all(np.abs(arrays.angles) <= 180)


def test_frames_of_a_visit_differ(arrays):
    first, last = arrays.frames[::3].astype(int), arrays.frames[2::3].astype(int)
    assert np.all(np.abs(first - last).mean(axis=(1, 2, 3)) > 2)


def test_every_person_is_in_other_cameras_each_time_and_all_cameras_are_used_equally():
    config = replace(SMALL, identities=60, visits=4, cameras=24)
    seen = {}
    for visit in plan_visits(config):
        seen.setdefault(visit.pid, []).append(visit.camid)
    assert all(len(set(cameras)) == 4 for cameras in seen.values())
    assert set(Counter(camid for cameras in seen.values() for camid in cameras).values()) == {10}


def test_more_people_leave_the_earlier_ones_as_they_are():
    few, many = plan_visits(replace(SMALL, identities=4)), plan_visits(replace(SMALL, identities=40))
    assert many[: len(few)] == few


def test_with_a_group_off_its_part_comes_as_in_the_benchmark():
    plain, off = Difficulty(), draw_diverse_camera(5, 2, NONE)
    assert off == draw_camera(5, 2, plain)
    assert draw_diverse_identity(5, 2, NONE) == draw_identity(5, 2, plain)


@pytest.mark.parametrize("group", [field.name for field in fields(Diverse)])
def test_a_group_changes_what_it_says_and_nothing_else(group):
    on, off = Diverse(), Diverse(**{group: False})
    with_it, without = draw_diverse_camera(5, 3, on), draw_diverse_camera(5, 3, off)
    assert (with_it.light != without.light) == (group == "light")
    assert isinstance(without.sensor, Film) == (group != "cameras")
    assert (with_it.height != without.height) == (group == "cameras")
    people = [
        draw_diverse_identity(5, number, on) != draw_diverse_identity(5, number, off) for number in range(4)
    ]
    assert all(people) if group == "outfits" else not any(people)
    visit = plan_visits(SMALL)[0]
    frames = [render_visit(visit, replace(SMALL, diverse=diverse)).frames for diverse in (on, off)]
    assert not np.array_equal(*frames)


def test_places_are_others_than_those_of_the_benchmark():
    camera = draw_diverse_camera(5, 1, Diverse())
    assert not np.array_equal(render_diverse_place(5, camera), render_scene(5, camera))


def test_hardly_any_two_people_look_the_same_on_paper():
    words = Counter(draw_diverse_identity(0, number, Diverse()).in_words() for number in range(1, 301))
    assert len(words) >= 298


def test_clothes_have_the_colours_of_streets():
    people = [draw_diverse_identity(1, number, Diverse()) for number in range(1, 1501)]
    bottoms = np.array([person.outfit.bottom_paint.rgb for person in people])
    tops = np.array([person.outfit.first.rgb for person in people])
    assert np.mean(bottoms.mean(axis=1) < 0.35) > 0.5  # dark trousers
    vivid = tops.max(axis=1) - tops.min(axis=1) > 0.35
    assert 0.08 < vivid.mean() < 0.3
    assert np.mean(np.ptp(bottoms, axis=1) > 0.35) < 0.08


def test_cameras_hang_from_eye_level_to_drones():
    cameras = [draw_diverse_camera(0, number, Diverse()) for number in range(1, 241)]
    heights = np.array([camera.height for camera in cameras])
    assert np.mean(heights < 2.1) > 0.1
    assert np.mean(heights > 10) > 0.04
    pixels = np.array([camera.person_pixels for camera in cameras])
    assert pixels.min() < 80
    assert pixels.max() > 240
    assert len({camera.sensor.quality for camera in cameras}) > 40


def test_people_can_be_told_apart_across_cameras_by_what_they_wear():
    """Rank-1 of the mean colour of three stripes among 12 people, in even light: well above chance."""
    diverse = Diverse(cameras=False, light=False, places=False)
    config = replace(SMALL, identities=12, visits=2, cameras=2, frames=2, diverse=diverse)
    made = render_arrays(config, workers=1)
    middle = made.frames[:, :, 16:32].astype(np.float64)
    stripes = np.stack([middle[:, top : top + 24].mean(axis=(1, 2)) for top in (16, 44, 68)], axis=1)
    tracklets = stripes.reshape(12, 2, 2, -1).mean(axis=2)
    first = tracklets[made.camids.reshape(12, 2, 2)[..., 0] == 1]
    second = tracklets[made.camids.reshape(12, 2, 2)[..., 0] == 2]
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    distance = np.linalg.norm(first[:, None] - second[None], axis=2)
    assert np.mean(distance.argmin(axis=1) == np.arange(12)) > 3 / 12


def test_folder_is_read_and_holds_the_truth(tmp_path, capsys):
    root = tmp_path / "made"
    size = ["--height", "96", "--width", "48", "--frames", "3", "3", "--seed", "5"]
    assert main(["data", "make", str(root), "--preset", "diverse", "--identities", "3", "--visits", "2",
                 "--cameras", "3", "--test", "1", "--workers", "1", "--json", *size]) == 0  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    split = read_split(root)
    assert split.dataset == "diverse"
    assert (len(split.train), len(split.query), len(split.gallery)) == (4, 1, 1)
    assert {tracklet.pid for tracklet in split.train} == {1, 2}
    assert told["frames"] == 18
    assert told["queries"] == 1
    rows = (root / "ground_truth/frames.csv").read_text().splitlines()
    assert len(rows) == 19
    assert rows[0] == "tracklet,frame,view_angle,visible,area,inside"
    again = make_diverse(tmp_path / "again", replace(SMALL, test=1), workers=2)
    assert again.sha256 == told["sha256"]
    with pytest.raises(OutputError, match="choose another folder"):
        make_diverse(root, SMALL)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--preset", "diverse", "--layout", "mars"], "--layout"),
        (["--preset", "diverse", "--difficulty.noise", "0"], "--difficulty"),
        (["--preset", "diverse", "--frames", "3", "4"], "--frames 4 4"),
        (["--visits", "3"], "--visits"),
        (["--diverse.no-light"], "--diverse"),
    ],
)
def test_options_of_the_other_preset_are_refused_and_leave_nothing(argv, named, tmp_path, capsys):
    assert main(["data", "make", str(tmp_path / "out"), *argv]) != 0
    assert named in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_settings_are_all_named_at_once():
    with pytest.raises(ConfigError) as error:
        DiverseConfig(identities=0, visits=5, frames=1, cameras=3, test=2)
    for name in ("identities", "frames", "cameras", "test"):
        assert f"{name}: " in str(error.value)
    with pytest.raises(ConfigError, match="workers is 0"):
        list(by_camera(plan_visits(SMALL), len, 0))
