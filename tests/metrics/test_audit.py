"""Files made with one known fault each: it is found by name, and a clean file gives no finding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from intraclip.metrics.audit import REMEDIES, Finding, audit, cameras_in_names
from intraclip.metrics.embeddings import Embeddings, take
from intraclip.metrics.protocols import PROTOCOLS
from intraclip.metrics.ranking import score

CROSS = PROTOCOLS["cross-camera"]
CAMERAS, EACH = 4, 2


def clean(people: int = 30, seed: int = 0, *, names: bool = True) -> Embeddings:
    """Like the test set of MARS: people in four cameras, the first tracklet of each queried; distractors and junk."""
    rng = np.random.default_rng(seed)
    pids = np.concatenate(
        [np.repeat(np.arange(1, people + 1), CAMERAS * EACH), np.zeros(40), np.full(20, -1)]
    )
    pids = pids.astype(np.int64)
    camids = np.concatenate(
        [np.tile(np.repeat(np.arange(1, CAMERAS + 1), EACH), people), rng.integers(1, CAMERAS + 1, size=60)]
    )
    features = 0.7 * rng.normal(size=(people + 1, 24))[np.maximum(pids, 0)] + rng.normal(size=(len(pids), 24))
    features[pids <= 0] = rng.normal(size=((pids <= 0).sum(), 24))
    is_query = (np.arange(len(pids)) % EACH == 0) & (pids > 0)
    order = np.lexsort((np.arange(len(pids)), ~is_query))
    folders = ["00-1" if pid == -1 else f"{pid:04d}" for pid in pids]
    texts = [f"{f}C{c}T{i:04d}" for i, (f, c) in enumerate(zip(folders, camids, strict=True))]
    e = Embeddings(
        features=features, pids=pids, camids=camids, is_query=is_query, names=texts if names else ()
    )
    return take(e, order)


def with_rows(e: Embeddings, source: np.ndarray, **changes: Any) -> Embeddings:
    """The same and gallery copies of some rows, changed."""
    added = take(replace(e, names=()), source)
    added = replace(added, is_query=np.zeros(len(source), bool), **changes)
    return Embeddings(
        **{
            k: np.concatenate([getattr(e, k), getattr(added, k)])
            for k in ("features", "pids", "camids", "is_query")
        }
    )


def only(e: Embeddings, fault: str, **how: Any) -> Finding:
    found = audit(e, how.pop("protocol", CROSS), **how)
    assert [f.fault for f in found] == [fault]
    return found[0]


def repeated_for_frames(e: Embeddings) -> Embeddings:
    """A camid a frame, read as a camid a tracklet, on each side."""
    camids, times = e.camids.copy(), np.random.default_rng(4).integers(5, 30, size=len(e))
    for side in (e.is_query, ~e.is_query):
        camids[side] = np.repeat(e.camids[side], times[side])[: side.sum()]
    return replace(e, camids=camids)


# -- clean files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("protocol", ["cross-camera", "mars-full", "mars-official"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_clean_file_gives_no_finding(seed: int, protocol: str, distance: Any):
    e = clean(seed=seed)
    rng = np.random.default_rng(seed)
    for other in (e, replace(e, names=()), take(e, rng.permutation(len(e)))):
        assert audit(other, PROTOCOLS[protocol], distance=distance) == []


def test_other_orders_and_numberings_of_cameras_are_no_fault():
    e = clean()
    by_camera = take(e, np.lexsort((e.pids, e.camids, ~e.is_query)))
    assert audit(by_camera, CROSS) == []
    assert audit(replace(e, camids=7 - e.camids), CROSS) == []
    two = take(e, np.flatnonzero(np.where(e.is_query, e.camids == 1, e.camids == 2)))
    assert audit(two, CROSS) == []
    sides = replace(two, names=tuple(f"cam{c}_person{i:03d}" for i, c in enumerate(two.camids)))
    assert audit(sides, CROSS) == []
    one_query_each = replace(e, is_query=e.is_query & (e.camids == 1 + e.pids % CAMERAS))
    one_query_each = take(one_query_each, np.lexsort((e.camids, ~one_query_each.is_query)))
    assert audit(replace(one_query_each, names=()), CROSS) == []


def test_people_who_were_not_trained_on_are_no_finding():
    e = clean()
    other = replace(clean(seed=9), pids=clean().pids + 1000, names=())
    assert audit(e, CROSS, train=other) == []


# -- faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [True, False])
def test_camids_of_frames_are_found_with_and_without_names(names: bool):
    e = clean(names=names)
    found = only(repeated_for_frames(e), "camids-of-frames")
    if not names:
        assert found.after is None
        assert len(found.rows) == len(e)
        return
    true = score(e, CROSS)
    assert found.after == {"rank1": true.rank(1), "mAP": true.mAP}
    assert found.before is not None
    assert found.before["rank1"] > found.after["rank1"]  # same-camera matches count as right
    assert 100 < len(found.rows) < len(e)


def test_camids_that_contradict_names_are_named():
    e = clean()
    camids = e.camids.copy()
    camids[[5, 9]] = camids[[5, 9]] % CAMERAS + 1
    assert only(replace(e, camids=camids), "camids-against-names").rows == (5, 9)
    merged = replace(e, camids=np.where(e.camids == 4, 3, e.camids))
    found = only(merged, "camids-against-names")
    assert {merged.names[i][4:6] for i in found.rows} in ({"C3"}, {"C4"})


def test_same_camera_matches_left_in_are_found():
    e = clean()
    sides = only(replace(e, camids=(~e.is_query).astype(int)), "same-camera-left-in")
    assert sides.before is not None
    assert sides.after is not None
    assert sides.before["mAP"] != sides.after["mAP"]
    assert "queries have one camid" in sides.what
    alone = only(replace(e, camids=np.arange(len(e)), names=()), "same-camera-left-in")
    assert "camid of their own" in alone.what


def test_queries_that_find_themselves_are_found_and_cost_what_they_cost():
    e = clean(names=False)
    rows = np.flatnonzero(e.is_query)[:50]
    found = only(with_rows(e, rows, camids=e.camids[rows] + 10), "query-finds-itself")
    assert found.rows == tuple(range(len(e), len(e) + 50))
    true = score(e, CROSS)
    assert found.after == {"rank1": true.rank(1), "mAP": true.mAP}
    assert found.before is not None
    assert found.before["rank1"] > true.rank(1)


def test_queries_copied_into_the_gallery_make_it_another_protocol():
    e = clean(names=False)
    found = only(with_rows(e, np.flatnonzero(e.is_query)), "queries-in-gallery")
    full = score(e, PROTOCOLS["mars-full"])
    assert found.before == {"rank1": full.rank(1), "mAP": full.mAP}
    assert found.after == {"rank1": score(e, CROSS).rank(1), "mAP": score(e, CROSS).mAP}


def test_near_duplicates_of_queries_in_another_camera_are_found():
    e = clean(names=False)
    rows = np.flatnonzero(e.is_query)[:40]
    noise = 0.01 * np.random.default_rng(1).normal(size=(40, 24))
    double = with_rows(e, rows, camids=e.camids[rows] % CAMERAS + 1, features=e.features[rows] + noise)
    assert only(double, "near-duplicates").rows == tuple(range(len(e), len(e) + 40))
    same_camera = with_rows(e, rows, features=e.features[rows] + noise)
    assert audit(same_camera, CROSS) == []  # such leave the ranking


def test_repeated_tracklets_and_vectors_of_several_people_are_found():
    e = clean(names=False)
    gallery = np.flatnonzero(~e.is_query & (e.pids > 0))[:7]
    assert len(only(with_rows(e, gallery), "rows-twice").rows) == 7
    features = e.features.copy()
    features[np.flatnonzero(e.pids > 0)[::9]] = 0
    found = audit(replace(e, features=features), CROSS)
    assert "one-vector-for-several" in [f.fault for f in found]


def test_junk_that_counts_is_found():
    e = clean()
    junk = np.flatnonzero(e.pids == -1)
    found = only(replace(e, pids=np.where(e.pids == -1, 2**16 - 1, e.pids), names=()), "junk-counted")
    assert found.rows == tuple(junk)
    true = score(e, CROSS)
    assert found.after == {"rank1": true.rank(1), "mAP": true.mAP}
    by_name = only(replace(e, pids=np.where(e.pids == -1, 0, e.pids)), "junk-counted")
    assert by_name.rows == tuple(junk)


def test_queries_of_nobody_and_pids_from_zero_are_told_apart():
    e = clean()
    flags = e.is_query.copy()
    flags[np.flatnonzero(e.pids == -1)[:8]] = True
    found = only(replace(e, is_query=flags), "queries-of-nobody", protocol=PROTOCOLS["mars-full"])
    assert len(found.rows) == 8
    assert found.before != found.after
    people = take(replace(e, names=()), np.flatnonzero(e.pids > 0))
    from_zero = only(replace(people, pids=people.pids - 1), "pids-from-zero")
    true = score(people, CROSS)
    assert from_zero.after == {"rank1": true.rank(1), "mAP": true.mAP}


def test_constant_features_are_one_finding_beside_ties():
    e = clean()
    same = np.ones_like(e.features)
    found = {f.fault: f for f in audit(replace(e, features=same), CROSS)}
    assert set(found) == {"constant-features", "ties-by-order"}
    ties = found["ties-by-order"]
    assert (ties.before, ties.after["rank1"] if ties.after else None) == ({"rank1": 1.0, "mAP": 1.0}, 0.0)
    assert ties.rows == tuple(np.flatnonzero(e.is_query))
    noise = 1e-7 * np.random.default_rng(0).normal(size=e.features.shape)
    assert "constant-features" in [f.fault for f in audit(replace(e, features=same + noise), CROSS)]


def test_ties_are_counted_from_both_ends():
    e = clean(names=False)
    coarse = replace(e, features=np.round(e.features[:, :6]))
    ties = {f.fault: f for f in audit(coarse, CROSS)}["ties-by-order"]
    true = score(coarse, CROSS)
    assert ties.after == pytest.approx({"rank1": true.rank(1), "mAP": true.mAP})
    assert ties.before is not None
    assert ties.before["rank1"] - true.rank(1) == pytest.approx(len(ties.rows) / true.queries)


def test_people_who_were_trained_on_are_found_by_pid_or_features():
    e = clean()
    train = take(e, np.flatnonzero(e.pids == 3))
    assert only(e, "train-people", train=train).rows == tuple(np.flatnonzero(e.pids == 3))
    renamed = replace(train, pids=train.pids + 500)
    assert only(e, "train-people", train=renamed).rows == tuple(np.flatnonzero(e.pids == 3))


def test_every_finding_has_a_remedy_and_plain_values():
    e = repeated_for_frames(clean())
    found = only(e, "camids-of-frames").to_json_dict(e.names)
    assert found["remedy"] == REMEDIES["camids-of-frames"]
    assert found["names"] == [e.names[i] for i in found["rows"]]


@pytest.mark.parametrize(
    ("names", "cameras"),
    [
        (("0001C2T0001", "00-1C6T0002", "0000C2T0003"), [1, 2, 1]),
        (("cam1_person001", "cam2_person001"), [1, 2]),
        (("cam_a_person_0001", "cam_b_person_0001"), [1, 2]),
        (("0001_c3s1", "0002_c1s1"), [2, 1]),
    ],
)
def test_cameras_are_read_from_the_names_of_the_usual_data_sets(names: tuple[str, ...], cameras: list[int]):
    found = cameras_in_names(names)
    assert found is not None
    assert found.tolist() == cameras


def test_names_that_tell_no_camera_are_left_alone():
    assert cameras_in_names(()) is None
    assert cameras_in_names(("cam1_a", "camel")) is None
    assert cameras_in_names(("t1", "t2")) is None
