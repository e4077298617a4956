"""Decoding a batch at a time on the device; the same code runs on the CPU."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from intraclip.config import ClipConfig, InputConfig, Recipe
from intraclip.data.dataset import Loaded, TestBatches, TrainingBatches, iterate, labels_of
from intraclip.data.decode import decode_batch
from intraclip.data.sampler import PKSampler
from intraclip.errors import FrameError
from intraclip.types import Split, Tracklet

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.cuda),
]


def batches(
    tracklets: tuple[Tracklet, ...], *, encoded: bool, height: int = 48, width: int = 24, skip: bool = False
) -> TestBatches:
    return TestBatches(
        tracklets,
        ClipConfig(num_frames=4),
        InputConfig(height=height, width=width),
        max_frames=16,
        encoded=encoded,
        skip_unreadable=skip,
    )


def copy(tracklet: Tracklet, root: Path) -> Tracklet:
    for index, name in enumerate(tracklet.frames):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(tracklet.frame_path(index).read_bytes())
    return replace(tracklet, root=root)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("workers", [0, 2])
def test_pixels_are_those_of_the_workers(device: str, workers: int, tiny_split: Split):
    plain = iterate(batches(tiny_split.query, encoded=False), workers=0)
    encoded = iterate(batches(tiny_split.query, encoded=True), workers=workers)
    for one, other in zip(plain, encoded, strict=True):
        assert other.encoded is not None
        assert other.clips.frames.shape[-2:] == (0, 0)
        clips = decode_batch(other, device, height=48, width=24)
        assert clips.frames.device.type == device
        assert clips.frames.permute(0, 1, 3, 4, 2).is_contiguous()
        difference = (clips.frames.cpu().int() - one.clips.frames.int()).abs()
        assert difference.float().mean() < (0.01 if device == "cpu" else 4)
        assert torch.equal(clips.mask.cpu(), one.clips.mask)
        assert torch.equal(clips.pids.cpu(), one.clips.pids)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("height", "width"), [(24, 12), (31, 17), (96, 48), (60, 20)])
def test_frames_are_resized_as_on_the_cpu(device: str, height: int, width: int, tiny_split: Split):
    plain, encoded = (
        iterate(batches(tiny_split.query, encoded=encoded, height=height, width=width), workers=0)
        for encoded in (False, True)
    )
    for one, other in zip(plain, encoded, strict=True):
        frames = decode_batch(other, device, height=height, width=width).frames
        assert frames.shape == one.clips.frames.shape
        difference = (frames.cpu().int() - one.clips.frames.int()).abs()
        assert difference.max() <= 1 if device == "cpu" else difference.float().mean() < 4


@pytest.mark.parametrize("device", DEVICES)
def test_lying_frames_are_turned_before_they_go_to_a_device(device: str, tiny_split: Split, tmp_path: Path):
    lying, plain = copy(tiny_split.query[0], tmp_path), tiny_split.query[0]
    pixels = np.asarray(Image.open(plain.frame_path(1)))
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(np.rot90(pixels, -1)).save(lying.frame_path(1), exif=exif, quality=98, subsampling=0)
    (one,) = iterate(batches((plain,), encoded=False), workers=0)
    (other,) = iterate(batches((lying,), encoded=True), workers=0)
    assert other.encoded is not None
    assert len(other.encoded.ready_rows) == 1
    found = decode_batch(other, device, height=48, width=24).frames.cpu()
    assert (found.float() - one.clips.frames.float()).abs().mean() < 4


@pytest.mark.parametrize("device", DEVICES)
def test_frames_that_are_no_jpeg_or_cut_off_go_through_the_cpu(
    device: str, tiny_split: Split, tmp_path: Path
):
    png, cut = (copy(t, tmp_path) for t in tiny_split.query[:2])
    pixels = np.full((48, 24, 3), 77, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "frame.png")
    (tmp_path / "frame.png").rename(png.frame_path(2))
    data = cut.frame_path(1).read_bytes()
    cut.frame_path(1).write_bytes(data[:-40])
    tracklets = (png, cut, tiny_split.query[2])
    with pytest.raises(FrameError) as caught:
        list(iterate(batches(tracklets, encoded=True), workers=0))
    assert caught.value.path == cut.frame_path(1)
    plain = list(iterate(batches(tracklets, encoded=False, skip=True), workers=0))
    encoded = list(iterate(batches(tracklets, encoded=True, skip=True), workers=0))
    assert sum(len(loaded.unreadable) for loaded in encoded) == 1
    for one, other in zip(plain, encoded, strict=True):
        clips = decode_batch(other, device, height=48, width=24)
        assert (clips.frames.cpu().float() - one.clips.frames.float()).abs().mean() < 4
        assert torch.equal(clips.mask.cpu(), one.clips.mask)
        assert other.unreadable == one.unreadable
    first = decode_batch(encoded[0], device, height=48, width=24).frames
    assert (first[0, 2] == 77).all()


@pytest.mark.parametrize("device", DEVICES)
def test_tracklets_without_any_jpeg_need_no_decoder(device: str, tiny_split: Split, tmp_path: Path):
    tracklet = copy(tiny_split.query[0], tmp_path)
    for index in range(len(tracklet)):
        Image.fromarray(np.full((48, 24, 3), index, dtype=np.uint8)).save(tmp_path / "frame.png")
        (tmp_path / "frame.png").rename(tracklet.frame_path(index))
    (loaded,) = iterate(batches((tracklet,), encoded=True), workers=1)
    frames = decode_batch(loaded, device, height=48, width=24).frames
    assert frames[0, :, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_jpeg_the_decoder_refuses_is_tried_on_the_cpu(tiny_split: Split, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("unsupported JPEG")

    (plain, *_) = iterate(batches(tiny_split.query[:1], encoded=False), workers=0)
    (encoded, *_) = iterate(batches(tiny_split.query[:1], encoded=True), workers=0)
    monkeypatch.setattr("intraclip.data.decode._decode_together", refuse)
    assert torch.equal(decode_batch(encoded, "cpu", height=48, width=24).frames, plain.clips.frames)


def test_a_jpeg_that_is_damaged_inside_is_named(tiny_split: Split, tmp_path: Path):
    tracklet = copy(tiny_split.query[0], tmp_path)
    data = bytearray(tracklet.frame_path(0).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2] = b"\xff\xd9"  # an end where none should be; header and last bytes are right
    tracklet.frame_path(0).write_bytes(bytes(data))
    (loaded, *_) = iterate(batches((tracklet,), encoded=True), workers=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "intraclip.data.decode._decode_together", lambda *_, **__: (_ for _ in ()).throw(RuntimeError)
        )
        with pytest.raises(FrameError, match=tracklet.frames[0]):
            decode_batch(loaded, "cpu", height=48, width=24)


def test_the_recipe_decides_where_training_frames_are_decoded(tiny_split: Split, tiny_recipe: Recipe):
    labels = labels_of(tiny_split.train)
    sampler = PKSampler(tiny_split.train, identities=3, clips=4, seed=0)
    for decode in ("cpu", "cuda"):
        recipe = replace(tiny_recipe, data=replace(tiny_recipe.data, decode=decode))
        dataset = TrainingBatches(tiny_split.train, labels, recipe, sampler, start=0, stop=1)
        (loaded,) = iterate(dataset, workers=0)
        assert (loaded.encoded is not None) == (decode == "cuda")
        frames = decode_batch(loaded, "cpu", height=32, width=16).frames
        assert frames.shape == (12, 2, 3, 32, 16)


def test_an_encoded_batch_survives_pickling(tiny_split: Split):
    (loaded, *_) = iterate(batches(tiny_split.query, encoded=True), workers=0)
    again = pickle.loads(pickle.dumps(loaded))
    assert isinstance(again, Loaded)
    one, other = (decode_batch(batch, "cpu", height=48, width=24) for batch in (loaded, again))
    assert torch.equal(one.frames, other.frames)
