"""The short lists of large galleries: recall on clustered vectors, filters, deletion, following changes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from gallery.gallery_world import MODEL
from intraclip.gallery import axes
from intraclip.gallery.folder_database import connect
from intraclip.gallery.gallery import Gallery, create_gallery, open_gallery
from intraclip.gallery.records import Filters, TrackletRecord

SIZE = 48
COUNT = 4_000
NONE = "none, every tracklet is compared by its whole vector"
MADE = "8 principal axes choose 200 tracklets that are compared by their whole vectors"


def clustered(count: int, *, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Ten vectors around each of many centres, which are the same for every seed; directions matter less and less."""
    centres = np.random.default_rng(99).standard_normal((COUNT // 10, SIZE))
    rng = np.random.default_rng(seed)
    scale = np.exp(-np.arange(SIZE) / 6)
    return ((np.resize(centres, (count, SIZE)) + 0.4 * rng.standard_normal((count, SIZE))) * scale).astype(
        np.float32
    )


def records(start: int, stop: int) -> list[TrackletRecord]:
    return [
        TrackletRecord(id=f"t{i:05d}", camera=f"cam{i % 7}", start_s=float(i), end_s=float(i))
        for i in range(start, stop)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery that is large in the eyes of this test."""
    monkeypatch.setattr(axes, "LEAST", 2_000)
    monkeypatch.setattr(axes, "COUNTS", (4, 8))
    monkeypatch.setattr(axes, "KEPT", 200)
    monkeypatch.setattr(axes, "SHARE", 0.99)
    with create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE, metric="euclidean") as gallery:
        gallery.add(records(0, COUNT), clustered(COUNT), fingerprint=MODEL)
    return tmp_path / "g"


def recall(gallery: Gallery, filters: Filters, passing: np.ndarray, k: int = 10) -> float:
    hits = 0
    queries = clustered(60, seed=5)
    for query in queries:
        distances = ((clustered(COUNT) - query) ** 2).sum(axis=1)
        distances[~passing] = np.inf
        right = {f"t{i:05d}" for i in np.argsort(distances)[:k]}
        found = gallery.search(query, fingerprint=MODEL, k=k, filters=filters)
        assert not found.exact
        assert len(found.matches) == k
        hits += len(right & {m.record.id for m in found.matches})
    return hits / (k * len(queries))


def test_short_lists_hold_nearly_all_of_the_nearest_ones(folder):
    numbers = np.arange(COUNT)
    with open_gallery(folder) as gallery:
        assert gallery.search(clustered(1)[0], fingerprint=MODEL).exact
        assert gallery.stats().index == NONE
        assert gallery.build_index() == gallery.stats().index == MADE
        assert recall(gallery, Filters(), numbers >= 0) > 0.95
        assert recall(gallery, Filters(exclude_cameras=frozenset({"cam3"})), numbers % 7 != 3) > 0.95
        assert recall(gallery, Filters(to_s=499), numbers < 500) > 0.95


def test_axes_keep_the_share_of_the_length_that_is_asked_for(monkeypatch):
    monkeypatch.setattr(axes, "COUNTS", (4, 8, 16))
    vectors = clustered(3000)
    found = axes.principal_axes(vectors, np.arange(1000, 3000), np.random.default_rng(0))
    np.testing.assert_allclose(found.T @ found, np.eye(found.shape[1]), atol=1e-5)
    short = axes.project(vectors, found)
    assert found.shape == (SIZE, 8)
    assert (short**2).sum() > 0.89 * (vectors**2).sum()
    monkeypatch.setattr(axes, "SHARE", 0.999999)
    assert axes.principal_axes(vectors, np.arange(3000), np.random.default_rng(0)).shape == (SIZE, 16)


def test_few_that_pass_are_compared_exactly(folder):
    with open_gallery(folder) as gallery:
        gallery.build_index()
        found = gallery.search(clustered(1)[0], fingerprint=MODEL, filters=Filters(to_s=150))
        assert found.exact
        assert all(int(m.record.id[1:]) <= 150 for m in found.matches)


def test_the_axes_are_kept_and_serve_what_comes_later(folder):
    with open_gallery(folder) as gallery, open_gallery(folder) as other:
        gallery.build_index()
        assert not other.search(clustered(1)[0], fingerprint=MODEL).exact
        more = clustered(500, seed=8)
        gallery.add(records(COUNT, COUNT + 500), more, fingerprint=MODEL)
        for either in (gallery, other):
            found = either.search(more[123], fingerprint=MODEL, k=1)
            assert not found.exact
            assert found.matches[0].record.id == f"t{COUNT + 123:05d}"
        assert gallery.build_index() == MADE
    with open_gallery(folder) as gallery:
        found = gallery.search(more[321], fingerprint=MODEL, k=1)
        assert not found.exact
        assert found.matches[0].record.id == f"t{COUNT + 321:05d}"


def test_axes_are_computed_anew_when_the_gallery_has_doubled(folder):
    def made_for() -> int:
        with closing(connect(folder)) as db:
            ((count,),) = db.execute("SELECT made_for FROM axes").fetchall()
            return int(count)

    with open_gallery(folder) as gallery:
        gallery.build_index()
        gallery.add(records(COUNT, 2 * COUNT - 1), clustered(COUNT - 1, seed=8), fingerprint=MODEL)
        gallery.build_index()
        assert made_for() == COUNT
        gallery.add(records(2 * COUNT, 2 * COUNT + 1), clustered(1, seed=9), fingerprint=MODEL)
        gallery.build_index()
        assert made_for() == 2 * COUNT
        assert not gallery.search(clustered(1)[0], fingerprint=MODEL).exact


def test_what_was_deleted_is_on_no_short_list(folder):
    with open_gallery(folder) as gallery:
        gallery.build_index()
        query = clustered(COUNT)[17]
        assert gallery.search(query, fingerprint=MODEL, k=1).matches[0].record.id == "t00017"
        gallery.delete(Filters(ids=frozenset({"t00017", "t03321"})))
        found = gallery.search(query, fingerprint=MODEL, k=200)
        assert not found.exact
        assert len(found.matches) == 200
        assert "t00017" not in {m.record.id for m in found.matches}
        memory = gallery._store._memory
        for rows in (memory._vectors.view(), memory._short.view()):
            assert not rows[[17, 3321]].any()
            assert rows[18].any()
        gallery.delete(Filters(from_s=1000))  # so few are left that the memory is read anew
        found = gallery.search(query, fingerprint=MODEL, k=500)
        assert len(found.matches) == 500
        assert memory._short.view().shape == (999, 8)


def test_small_vectors_and_small_galleries_need_no_axes(folder, monkeypatch):
    with open_gallery(folder) as gallery:
        monkeypatch.setattr(axes, "COUNTS", (25, 40))
        assert gallery.build_index() == NONE
        monkeypatch.setattr(axes, "COUNTS", (4, 8))
        monkeypatch.setattr(axes, "LEAST", COUNT + 1)
        assert gallery.build_index() == NONE
        assert gallery.search(clustered(1)[0], fingerprint=MODEL).exact
