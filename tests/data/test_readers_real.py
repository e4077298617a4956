"""Readers on the real metadata: exact counts, and the time it takes."""

from pathlib import Path

import numpy as np
import pytest

from counting import lines_of_python
from intraclip.data.check import queries_without_match
from intraclip.data.readers.counts import count_split, differences
from intraclip.data.readers.lsvid import read_lsvid_info
from intraclip.data.readers.mars import MARS_PUBLISHED, MarsInfo, read_mars_info
from intraclip.data.readers.prid2011 import read_prid2011_splits
from intraclip.types import Split
from real_data import real_data

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def mars_info() -> MarsInfo:
    return read_mars_info(real_data("mars-info"))


@pytest.fixture(scope="module")
def mars(mars_info: MarsInfo) -> Split:
    return mars_info.split(Path("mars"))


def test_mars_counts_are_the_published_ones(mars: Split):
    counts = count_split(mars)
    assert counts["training pids"] == 625
    assert counts["training tracklets"] == 8_298
    assert counts["training frames"] == 509_914
    assert counts["frames in the shortest training tracklet"] == 5
    assert counts["test tracklets"] == 12_180
    assert counts["test frames"] == 681_089
    assert counts["frames in the shortest test tracklet"] == 2
    assert counts["test pids"] == 634
    assert counts["junk tracklets (pid -1)"] == 870
    assert counts["distractor tracklets (pid 0)"] == 3_248
    assert counts["query tracklets"] == 1_980
    assert counts["query pids"] == 626
    assert counts["gallery tracklets"] == 10_200
    assert differences(mars, MARS_PUBLISHED) == []


def test_mars_galleries_of_the_protocols(mars: Split):
    assert sum(t.pid != -1 for t in mars.test) == 11_310
    assert sum(t.pid != -1 for t in mars.gallery) == 9_330
    assert sum(len(t) < 4 for t in mars.test) == 3


def test_mars_has_one_query_a_pid_and_camera(mars: Split):
    assert len({(t.pid, t.camid) for t in mars.query}) == 1_980
    assert {t.camid for t in mars.test} == {1, 2, 3, 4, 5, 6}


def test_mars_queries_without_a_match(mars: Split):
    assert queries_without_match(mars, queries_in_gallery=True) == []
    assert len(queries_without_match(mars, queries_in_gallery=False)) == 140


def test_mars_tracklets_are_named_after_their_frames(mars: Split, mars_info: MarsInfo):
    assert mars.train[0].name == "0001C1T0001"
    assert mars.train[0].frames[0] == "0001/0001C1T0001F001.jpg"
    assert all(t.frames[-1][5:16] == t.name for t in (*mars.train, *mars.test))
    assert mars_info.train.unused_names() == mars_info.test.unused_names() == []


def test_mars_is_read_in_less_than_four_lines_a_frame():
    """About a second for its 1.2 million frames."""
    folder = real_data("mars-info")
    assert lines_of_python(lambda: read_mars_info(folder).split(Path("mars"))) < 4_000_000


def test_lsvid_validation_table():
    table, query_rows = read_lsvid_info(real_data("lsvid-info") / "info_val.mat")
    assert table.dtype == np.int64
    assert table.shape == (779, 4)
    assert len(np.unique(table[:, 2])) == 200
    assert len(query_rows) == 252
    assert query_rows[:3].tolist() == [4, 2, 7]


def test_lsvid_test_table():
    pytest.importorskip("h5py")
    table, query_rows = read_lsvid_info(real_data("lsvid-info") / "info_test.mat")
    assert table.shape == (11_333, 4)
    assert len(np.unique(table[:, 2])) == 2_730
    assert np.unique(table[:, 3]).tolist() == list(range(1, 16))
    assert len(set(query_rows.tolist())) == 3_504
    assert table[:, 1].max() == 2_277_075


def test_prid2011_has_ten_splits_of_the_same_178_people():
    splits = read_prid2011_splits(real_data("prid2011-splits") / "splits_prid2011.json")
    assert [(len(s.train), len(s.test)) for s in splits] == [(89, 89)] * 10
    assert len({frozenset((*s.train, *s.test)) for s in splits}) == 1
