from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intraclip.config import ClipConfig
from intraclip.data.clips import training_clip
from intraclip.data.test_clips import tracklet_clips
from intraclip.errors import DataError


@given(
    length=st.integers(1, 60),
    frames=st.integers(1, 9),
    sampling=st.sampled_from(["consecutive", "strided", "restricted"]),
    stride=st.integers(1, 10),
    short=st.sampled_from(["repeat_last", "wrap"]),
    seed=st.integers(0, 99),
)
def test_training_clip_is_ordered_and_inside_the_tracklet(length, frames, sampling, stride, short, seed):
    config = ClipConfig(num_frames=frames, sampling=sampling, stride=stride, short=short)
    indices, mask = training_clip(length, config, np.random.default_rng(seed))
    assert indices.shape == mask.shape == (frames,)
    assert indices.min() >= 0
    assert indices.max() < length
    assert (np.diff(indices[mask]) > 0).all()
    assert mask.sum() == min(length, frames)


def test_consecutive_starts_are_spread_evenly_over_the_tracklet():
    config = ClipConfig(num_frames=4)
    rng = np.random.default_rng(0)
    starts = np.array([training_clip(10, config, rng).indices[0] for _ in range(7000)])
    counts = np.bincount(starts, minlength=10)
    assert (counts[7:] == 0).all()
    assert (abs(counts[:7] - 1000) < 150).all()


def test_strided_clip_takes_the_largest_stride_that_fits():
    rng = np.random.default_rng(0)
    indices, _ = training_clip(10, ClipConfig(num_frames=4, sampling="strided", stride=8), rng)
    assert np.diff(indices).tolist() == [3, 3, 3]
    indices, _ = training_clip(100, ClipConfig(num_frames=4, sampling="strided", stride=8), rng)
    assert np.diff(indices).tolist() == [8, 8, 8]


def test_restricted_sampling_takes_one_frame_of_each_chunk():
    rng = np.random.default_rng(0)
    config = ClipConfig(num_frames=4, sampling="restricted")
    drawn = np.array([training_clip(20, config, rng).indices for _ in range(200)])
    for chunk in range(4):
        assert set(drawn[:, chunk]) == set(range(5 * chunk, 5 * chunk + 5))


def test_short_tracklet_repeats_last_frame_and_masks_it():
    indices, mask = training_clip(2, ClipConfig(num_frames=4), np.random.default_rng(0))
    assert indices.tolist() == [0, 1, 1, 1]
    assert mask.tolist() == [True, True, False, False]


def test_short_tracklet_is_refused_when_told_so():
    config = ClipConfig(num_frames=4, short="error")
    with pytest.raises(DataError, match=r"3 frames, a clip needs 4; choose clip\.short"):
        training_clip(3, config, np.random.default_rng(0))
    with pytest.raises(DataError, match="3 frames"):
        tracklet_clips(3, config)
    # A long tracklet's last, partial clip is no short tracklet.
    assert tracklet_clips(6, config)[1].mask.tolist() == [True, True, False, False]


@given(length=st.integers(1, 50), frames=st.integers(1, 9))
def test_dense_clips_hold_every_frame_exactly_once(length, frames):
    clips = tracklet_clips(length, ClipConfig(num_frames=frames))
    valid = np.concatenate([clip.indices[clip.mask] for clip in clips])
    assert valid.tolist() == list(range(length))


def test_even_clip_is_symmetric_in_time():
    (clip,) = tracklet_clips(8, ClipConfig(num_frames=4, test_sampling="even"))
    assert clip.indices.tolist() == [1, 3, 5, 7]
    (clip,) = tracklet_clips(4, ClipConfig(num_frames=4, test_sampling="even"))
    assert clip.indices.tolist() == [0, 1, 2, 3]


def test_all_frames_make_one_clip():
    (clip,) = tracklet_clips(23, ClipConfig(num_frames=4, test_sampling="all"))
    assert clip.indices.tolist() == list(range(23))
    assert clip.mask.all()


def test_one_frame_tracklet_works_everywhere():
    for sampling in ("dense", "even", "all"):
        clips = tracklet_clips(1, ClipConfig(num_frames=4, test_sampling=sampling))
        assert [int(clip.mask.sum()) for clip in clips] == [1]
