import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from intraclip.data.readers.ilids_vid import read_ilids_vid
from intraclip.data.readers.mars import read_mars
from intraclip.data.readers.prid2011 import read_prid2011
from intraclip.data.silhouettes import load_silhouettes
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.studio import BenchmarkConfig, Difficulty, make_benchmark
from intraclip.studio.identity import draw_identity
from intraclip.studio.layouts import plan_tracklets

SMALL = BenchmarkConfig(
    identities=4,
    cameras=2,
    seed=3,
    tracklets_per_camera=(1, 2),
    frames=(3, 5),
    distractors=2,
    junk=2,
    height=96,
    width=48,
)
PAIRS = replace(SMALL, identities=3, seed=1, frames=(2, 3), layout="ilids-vid")


@pytest.fixture(scope="module")
def mars(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "mars"
    return make_benchmark(root, SMALL, workers=1)


def frame_bytes(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def table(root: Path) -> list[dict[str, str]]:
    with (root / "ground_truth" / "tracklets.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_same_seed_gives_same_bytes_with_any_number_of_workers(mars, tmp_path):
    again = make_benchmark(tmp_path / "again", SMALL, workers=2)
    assert again.sha256 == mars.sha256
    assert frame_bytes(again.root) == frame_bytes(mars.root)


def test_another_seed_gives_other_people(mars):
    words = [
        person["in_words"] for person in json.loads((mars.root / "ground_truth/identities.json").read_text())
    ]
    others = [draw_identity(4, number, SMALL.difficulty).in_words() for number in range(1, 5)]
    assert not set(words) & set(others)


def test_digest_covers_every_frame_in_the_order_of_the_table(mars):
    digest = hashlib.sha256()
    for plan in plan_tracklets(SMALL):
        for file in plan.files:
            digest.update((mars.root / file).read_bytes())
    stored = json.loads((mars.root / "benchmark.json").read_text())
    assert stored["sha256"] == mars.sha256 == digest.hexdigest()
    assert [row["name"] for row in table(mars.root)] == [plan.name for plan in plan_tracklets(SMALL)]
    assert stored["config"]["difficulty"]["alike"] == SMALL.difficulty.alike


def test_mars_tables_index_the_name_lists(mars):
    info = mars.root / "info"
    for part in ("train", "test"):
        names = (info / f"{part}_name.txt").read_text().split()
        rows = loadmat(info / f"tracks_{part}_info.mat")[f"track_{part}_info"]
        assert rows.dtype == np.int32
        assert rows[0, 0] == 1
        assert rows[-1, 1] == len(names)
        assert np.array_equal(rows[1:, 0], rows[:-1, 1] + 1)
        for first, last, pid, camid in rows:
            folder = "00-1" if pid == -1 else f"{pid:04d}"
            tracklet = names[first - 1 : last]
            assert len({name[:11] for name in tracklet}) == 1
            assert tracklet[0].startswith(f"{folder}C{camid}T")
            assert tracklet[0].endswith("F001.jpg")
            assert all((mars.root / f"bbox_{part}" / folder / name).is_file() for name in tracklet)


def test_mars_queries_are_one_per_person_and_camera_and_have_a_match_elsewhere(mars):
    rows = loadmat(mars.root / "info/tracks_test_info.mat")["track_test_info"]
    query = loadmat(mars.root / "info/query_IDX.mat")["query_IDX"]
    assert query.dtype == np.uint16
    assert query.shape == (1, mars.queries)
    chosen = rows[query.ravel() - 1]
    assert len({(pid, camid) for _, _, pid, camid in chosen}) == len(chosen)
    assert {(pid, camid) for _, _, pid, camid in rows if pid > 0} == {
        (pid, camid) for _, _, pid, camid in chosen
    }
    for _, _, pid, camid in chosen:
        assert pid > 0
        assert ((rows[:, 2] == pid) & (rows[:, 3] != camid)).any()
    assert {-1, 0} < set(rows[:, 2].tolist())
    assert (rows[:, 1] - rows[:, 0] + 1).min() == 2


def test_every_reader_reads_its_layout(mars, tmp_path):
    split = read_mars(mars.root)
    assert {t.pid for t in split.train} == {1, 2}
    assert {t.pid for t in split.query} == {3, 4}
    assert len(split.train) + len(split.test) == mars.tracklets

    ilids = make_benchmark(tmp_path / "ilids", PAIRS, workers=1)
    split = read_ilids_vid(ilids.root)
    assert len(split.train) + len(split.test) == 6
    names = loadmat(ilids.root / "train-test people splits/train_test_splits_ilidsvid.mat")["ls_set"]
    assert sorted(names[0].tolist()) == [1, 2, 3]
    assert names.shape == (10, 3)
    picture = cv2.imread(str(ilids.root / "i-LIDS-VID/sequences/cam2/person003/cam2_person003_00002.png"))
    assert picture.shape == (96, 48, 3)
    assert load_silhouettes(ilids.root, "cam1_person002").shape[1:] == (96, 48)

    prid = make_benchmark(tmp_path / "prid", replace(PAIRS, layout="prid2011"), workers=1)
    assert len(read_prid2011(prid.root).test) in (2, 4)
    splits = json.loads((prid.root / "splits_prid2011.json").read_text())
    assert len(splits) == 10
    assert sorted(splits[0]["train"] + splits[0]["test"]) == [f"person_{pid:04d}" for pid in (1, 2, 3)]
    assert load_silhouettes(prid.root, "cam_b_person_0001").any()
    assert prid.sha256 == ilids.sha256  # one seed, one set of pictures; only the names differ


def test_ground_truth_speaks_of_every_tracklet(mars):
    rows = table(mars.root)
    people = {
        person["number"] for person in json.loads((mars.root / "ground_truth/identities.json").read_text())
    }
    assert len(json.loads((mars.root / "ground_truth/cameras.json").read_text())) == SMALL.cameras
    for row in rows:
        masks = load_silhouettes(mars.root, row["name"])
        assert masks.shape == (int(row["frames"]), SMALL.height, SMALL.width)
        assert masks.dtype == np.bool_
        assert abs(masks.mean() - float(row["visible"])) < 1e-3
        assert -180 <= float(row["view_angle"]) <= 180
        assert int(row["identity"]) in people
        assert (row["pid"] == row["identity"]) == (int(row["pid"]) > 0)


def test_missing_silhouettes_are_named(mars):
    with pytest.raises(DataError, match="no silhouettes of tracklet 9999C1T0001"):
        load_silhouettes(mars.root, "9999C1T0001")


def test_more_identities_leave_the_training_people_as_they_are():
    def train(identities: int) -> dict[str, int]:
        plans = plan_tracklets(replace(SMALL, identities=identities, cameras=4))
        return {plan.name: plan.frames for plan in plans if plan.split == "train"}

    assert train(20).items() < train(40).items()


def test_non_empty_output_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        make_benchmark(tmp_path, SMALL)


def test_interrupted_run_does_not_look_finished(tmp_path):
    def stop(done: int, total: int) -> None:
        assert 0 < done < total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_benchmark(tmp_path / "cut", SMALL, workers=1, progress=stop)
    assert not (tmp_path / "cut/benchmark.json").exists()
    assert not (tmp_path / "cut/info").exists()
    with pytest.raises(OutputError):
        make_benchmark(tmp_path / "cut", SMALL)


def test_bad_settings_are_all_named_at_once():
    with pytest.raises(ConfigError) as caught:
        BenchmarkConfig(identities=1, cameras=9, frames=(5, 3), difficulty=Difficulty(alike=2.0, drift=-1.0))
    text = str(caught.value)
    for part in (
        "identities is 1",
        "cameras is 9",
        "frames: (5, 3)",
        "difficulty.alike: 2.0",
        "difficulty.drift: -1.0",
    ):
        assert part in text
    with pytest.raises(ConfigError, match="exactly 2"):
        BenchmarkConfig(layout="ilids-vid", cameras=3)
    with pytest.raises(ConfigError, match="layout: 'duke' is not one of mars"):
        BenchmarkConfig(layout="duke")


def test_no_workers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="workers is 0"):
        make_benchmark(tmp_path / "none", SMALL, workers=0)
