from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from intraclip.data.sampler import PKSampler
from intraclip.errors import DataError
from intraclip.types import Tracklet


def tracklets(cameras_of: dict[int, list[int]]) -> list[Tracklet]:
    return [
        Tracklet(name=f"{pid}-{camid}-{n}", root=Path("d"), frames=("f.jpg",), pid=pid, camid=camid)
        for pid, camids in cameras_of.items()
        for n, camid in enumerate(camids)
    ]


def test_batches_hold_p_identities_with_k_clips_each():
    found = tracklets({pid: [1, 2, 3] for pid in range(1, 11)})
    sampler = PKSampler(found, identities=4, clips=6, seed=0)
    batches = sampler.epoch(0)
    assert len(batches) == len(sampler) == 2
    for batch in batches:
        assert sorted(Counter(found[i].pid for i in batch).values()) == [6, 6, 6, 6]
    seen = [found[i].pid for batch in batches for i in batch[::6]]
    assert len(set(seen)) == 8


def test_clips_of_an_identity_take_its_cameras_in_turn():
    found = tracklets({pid: [1, 1, 1, 1, 1, 2] for pid in (1, 2)})
    sampler = PKSampler(found, identities=2, clips=8, seed=0)
    for epoch in range(20):
        for batch in sampler.epoch(epoch):
            for person in (batch[:8], batch[8:]):
                assert Counter(found[i].camid for i in person) == {1: 4, 2: 4}


def test_no_tracklet_repeats_while_its_camera_has_others():
    found = tracklets({pid: [1, 1, 1, 2, 2, 2] for pid in (1, 2)})
    for batch in PKSampler(found, identities=2, clips=6, seed=1).epoch(3):
        assert len(set(batch)) == len(batch)


def test_identity_with_one_tracklet_fills_its_clips_from_it():
    found = tracklets({1: [1], 2: [2]})
    (batch,) = PKSampler(found, identities=2, clips=4, seed=0).epoch(0)
    assert Counter(batch) == {0: 4, 1: 4}


def test_order_depends_on_seed_and_epoch_alone():
    found = tracklets({pid: [1, 2] for pid in range(1, 9)})
    a, b = (PKSampler(found, identities=4, clips=4, seed=5) for _ in range(2))
    a.epoch(0)
    assert a.epoch(7) == b.epoch(7)
    assert a.epoch(7) != a.epoch(8)
    assert a.epoch(7) != PKSampler(found, identities=4, clips=4, seed=6).epoch(7)


def test_too_few_identities_are_named():
    with pytest.raises(
        DataError, match=r"needs 4 identities, the training set has 2; lower batch\.identities"
    ):
        PKSampler(tracklets({1: [1], 2: [1]}), identities=4, clips=2, seed=0)


def test_balanced_cameras_are_shown_as_evenly_as_their_people_allow():
    # Camera 3 is passed by every fourth person only.
    found = tracklets({pid: [1, 2, 3] if pid % 4 == 0 else [1, 2] for pid in range(1, 41)})

    def shown(balanced: bool) -> Counter[int]:
        sampler = PKSampler(found, identities=4, clips=2, seed=0, balanced=balanced)
        return Counter(found[i].camid for epoch in range(5) for batch in sampler.epoch(epoch) for i in batch)

    assert shown(balanced=True)[3] >= 48  # of 50 visits of people who pass it
    assert shown(balanced=False)[3] < 45
    sampler = PKSampler(found, identities=4, clips=2, seed=0, balanced=True)
    for batch in sampler.epoch(0):
        assert all(found[a].camid != found[b].camid for a, b in zip(batch[::2], batch[1::2], strict=True))
    again = PKSampler(found, identities=4, clips=2, seed=0, balanced=True)
    assert again.epoch(3) == sampler.epoch(3)
