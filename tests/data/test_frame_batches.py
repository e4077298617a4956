from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import write_tracklet
from intraclip.config import ClipConfig, InputConfig
from intraclip.data import frame_batches
from intraclip.data.batches import iterate
from intraclip.data.frame_batches import FrameBatches, frames_needed, schedule
from intraclip.data.frame_loader import FrameLoader
from intraclip.data.frames import read_tracklet_frame_into
from intraclip.data.test_clips import tracklet_clips
from intraclip.errors import DataError, FrameError
from intraclip.types import Tracklet

SIZE = InputConfig(height=32, width=16)
LENGTHS = (1, 3, 4, 9, 2, 17)


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tracklet, ...]:
    root = tmp_path_factory.mktemp("ragged")
    return tuple(write_tracklet(root, pid=i + 1, camid=1, frames=n) for i, n in enumerate(LENGTHS))


@pytest.mark.parametrize("sampling", ["dense", "even", "all"])
@pytest.mark.parametrize("short", ["repeat_last", "wrap"])
@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 23])
def test_a_schedule_holds_the_valid_frames_of_every_clip_once(sampling, short, length):
    clip = ClipConfig(num_frames=4, test_sampling=sampling, short=short)
    plan = schedule(length, clip)
    assert len(set(plan.frames.tolist())) == len(plan.frames)
    for number, found in enumerate(tracklet_clips(length, clip)):
        assert plan.frames[plan.clips == number].tolist() == found.indices[found.mask].tolist()


@pytest.mark.parametrize("sampling", ["dense", "even", "all"])
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_every_wanted_frame_is_read_once_in_full_batches(ragged, sampling, size, monkeypatch):
    opened: list[Path] = []

    def counting(tracklet, index, out):
        opened.append(tracklet.frame_path(index))
        read_tracklet_frame_into(tracklet, index, out)

    monkeypatch.setattr(frame_batches, "read_tracklet_frame_into", counting)
    clip = ClipConfig(num_frames=4, test_sampling=sampling)
    dataset = FrameBatches(ragged, clip, SIZE, max_frames=size)
    batches = list(iterate(dataset, workers=0))
    wanted = int(frames_needed(ragged, clip).sum())
    assert len(opened) == len(set(opened)) == wanted == dataset.num_frames
    assert [len(b.frames) for b in batches[:-1]] == [size] * (len(batches) - 1)
    assert 0 < len(batches[-1].frames) <= size
    owners = np.concatenate([b.owners for b in batches])
    assert owners.tolist() == np.repeat(np.arange(len(ragged)), frames_needed(ragged, clip)).tolist()
    assert int(np.concatenate([b.ends_tracklet for b in batches]).sum()) == len(ragged)
    clips = sum(len(tracklet_clips(len(t), clip)) for t in ragged)
    assert int(np.concatenate([b.ends_clip for b in batches]).sum()) == clips


def test_frames_are_the_files_and_channels_last_in_memory(ragged):
    batch = next(iterate(FrameBatches(ragged[3:4], ClipConfig(), SIZE, max_frames=4), workers=0))
    expected, _, _ = FrameLoader(SIZE).load(ragged[3], tracklet_clips(4, ClipConfig())[0])
    assert batch.frames.shape == (4, 3, 32, 16)
    assert batch.frames.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch.frames.permute(0, 2, 3, 1).numpy(), expected)


def test_workers_change_nothing_and_the_global_random_state_is_left_alone(ragged):
    dataset = FrameBatches(ragged, ClipConfig(), SIZE, max_frames=5)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    both = [list(iterate(dataset, workers=workers)) for workers in (0, 2)]
    assert torch.rand(1) == expected
    for here, there in zip(*both, strict=True):
        assert torch.equal(here.frames, there.frames)
        assert np.array_equal(here.owners, there.owners)


def test_a_part_has_the_same_batches_whichever_others_are_asked_for(ragged):
    def batches(parts):
        dataset = FrameBatches(ragged, ClipConfig(), SIZE, max_frames=5, parts=parts)
        return list(iterate(dataset, workers=0))

    together = batches([range(0, 2), range(2, 5), range(5, 6)])
    alone = batches([range(2, 5)])
    start = len(batches([range(0, 2)]))
    assert len(alone) == 3  # 4 + 9 + 2 frames
    for a, b in zip(alone, together[start : start + 3], strict=True):
        assert torch.equal(a.frames, b.frames)
        assert np.array_equal(a.owners, b.owners)
    assert batches([]) == []


def test_unreadable_frames_stop_or_are_marked_and_named(tmp_path):
    tracklets = [write_tracklet(tmp_path, pid=p, camid=1, frames=4) for p in (1, 2)]
    tracklets[1].frame_path(3).write_bytes(b"")
    with pytest.raises(FrameError, match=r"0002C1T0001F004.*the file is empty"):
        list(iterate(FrameBatches(tracklets, ClipConfig(), SIZE, max_frames=8), workers=0))
    skipping = FrameBatches(tracklets, ClipConfig(), SIZE, max_frames=8, skip_unreadable=True)
    (batch,) = iterate(skipping, workers=0)
    assert batch.read.tolist() == [True] * 7 + [False]
    assert batch.ends_clip.tolist() == [False, False, False, True] * 2
    assert len(batch.frames) == 7
    assert [owner for owner, _ in batch.unreadable] == [1]


def test_a_batch_of_unreadable_frames_alone_is_empty_not_an_error(tmp_path):
    tracklet = write_tracklet(tmp_path, pid=1, camid=1, frames=2)
    for i in range(2):
        tracklet.frame_path(i).unlink()
    dataset = FrameBatches([tracklet], ClipConfig(), SIZE, max_frames=8, skip_unreadable=True)
    (batch,) = iterate(dataset, workers=0)
    assert batch.frames.shape == (0, 3, 32, 16)
    assert not batch.read.any()


def test_a_tracklet_too_short_for_the_policy_is_named(ragged):
    with pytest.raises(DataError, match=r"tracklet 0001C1T0001 in .*1 frames, a clip needs 4"):
        FrameBatches(ragged, ClipConfig(short="error"), SIZE, max_frames=8)


def test_a_batch_travels_with_its_pixels_as_the_only_tensor(ragged):
    batch = FrameBatches(ragged, ClipConfig(), SIZE, max_frames=9)[1]
    parts = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    assert [name for name, part in parts.items() if isinstance(part, torch.Tensor)] == ["frames"]


@pytest.mark.cuda
@pytest.mark.parametrize("workers", [0, 1])
def test_pixels_are_pinned_for_the_gpu(ragged, workers):
    dataset = FrameBatches(ragged, ClipConfig(), SIZE, max_frames=9)
    for batch in iterate(dataset, workers=workers, pin_memory=True):
        assert batch.frames.is_pinned()
        assert batch.frames.permute(0, 2, 3, 1).is_contiguous()
