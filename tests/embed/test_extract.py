"""Extraction: the same as clip by clip, in bounded memory, and what becomes of bad input."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import write_tracklet
from intraclip.config import ClipConfig, Recipe
from intraclip.core.devices import Arriving
from intraclip.data.frames import read_tracklet_frame, resize_frame
from intraclip.embed.clip_extractor import ClipExtractor
from intraclip.embed.encoders.base import FrameEncoder, aside
from intraclip.embed.encoders.torch_encoder import TorchEncoder
from intraclip.embed.extract import extractor_of
from intraclip.embed.extractors import ExtractSettings, FrameExtractor, RunningMean
from intraclip.embed.network import opened as opened_file
from intraclip.errors import ConfigError, DataError, FrameError
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.heads.ica import ICA
from intraclip.models.heads.tap import TAP
from intraclip.models.saving import save_checkpoint
from intraclip.types import Split, Tracklet
from plain_extraction import clip_by_clip, network, one_thread, opened

__all__ = ["one_thread"]

HEADS = ("tap", "ica", "maps", "clips")
LENGTHS = (6, 1, 9, 4, 2, 13)


def ragged(root: Path, lengths: tuple[int, ...] = LENGTHS) -> list[Tracklet]:
    return [write_tracklet(root, pid=i + 1, camid=1, frames=n) for i, n in enumerate(lengths)]


def run(model, tracklets, clip, *, max_frames=7, skip=False, parts=None):
    settings = ExtractSettings(clip=clip, max_frames=max_frames, workers=0, skip=skip)
    return list(extractor_of(model).embed(tracklets, settings, parts=parts))


def features(finished):
    return np.stack([f.embedding for f in finished])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("sampling", ["dense", "even", "all"])
@pytest.mark.parametrize("max_frames", [1, 7, 1000])
def test_it_equals_the_plain_loop(tmp_path, head, sampling, max_frames):
    tracklets, model = ragged(tmp_path), network(head)
    clip = ClipConfig(num_frames=4, test_sampling=sampling)
    found = run(model, tracklets, clip, max_frames=max_frames)
    assert [f.row for f in found] == list(range(len(tracklets)))
    assert np.abs(features(found) - clip_by_clip(model, tracklets, clip)).max() < 1e-5


@pytest.mark.cuda
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("sampling", ["dense", "all"])
def test_a_gpu_gives_the_embeddings_of_the_cpu(tmp_path, head, sampling):
    tracklets, clip = ragged(tmp_path), ClipConfig(num_frames=4, test_sampling=sampling)
    expected = features(run(network(head), tracklets, clip))
    found = features(run(network(head).cuda(), tracklets, clip))
    # The GPU's convolutions round to TF32 unless a program forbids it.
    assert np.abs(found - expected).max() < 1e-2 * np.abs(expected).max()


@pytest.mark.parametrize("head", HEADS)
def test_parts_are_independent_bit_for_bit(tmp_path, head):
    tracklets, model = ragged(tmp_path), network(head)
    parts = [range(0, 2), range(2, 3), range(3, 6)]
    together = run(model, tracklets, ClipConfig(), parts=parts)
    alone = run(model, tracklets, ClipConfig(), parts=parts[2:])
    assert [f.row for f in alone] == [3, 4, 5]
    assert np.array_equal(features(alone), features(together)[3:])


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Batches are begun ahead, and pinned where that can be done."""
    monkeypatch.setattr(TorchEncoder, "on_gpu", True)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_begun_ahead_give_the_same_bits(tmp_path, head, workers, request):
    tracklets, model = ragged(tmp_path), network(head)
    tracklets[2].frame_path(0).write_bytes(b"no picture")
    settings = ExtractSettings(clip=ClipConfig(), max_frames=8, workers=workers, skip=True)
    expected = list(extractor_of(model).embed(tracklets, settings))
    request.getfixturevalue("as_on_a_gpu")
    found = list(extractor_of(model).embed(tracklets, settings))
    assert [f.row for f in found] == [f.row for f in expected] == list(range(len(tracklets)))
    assert np.array_equal(features(found), features(expected))
    assert [f.unreadable for f in found] == [f.unreadable for f in expected]


@pytest.mark.parametrize("head", HEADS)
def test_what_was_finished_before_an_unreadable_frame_comes_first(tmp_path, head, as_on_a_gpu):
    tracklets, model = ragged(tmp_path), network(head)
    tracklets[5].frame_path(12).write_bytes(b"no picture")
    rows = []
    settings = ExtractSettings(clip=ClipConfig(), max_frames=8, workers=0)
    with pytest.raises(FrameError):  # noqa: PT012  what came before it is looked at
        for finished in extractor_of(model).embed(tracklets, settings):
            rows.append(finished.row)
    assert rows == [0, 1, 2, 3, 4]


def test_on_a_gpu_the_next_batch_is_begun_before_the_vectors_are_read(tmp_path, monkeypatch, as_on_a_gpu):
    log: list[str] = []

    class Logged(Arriving):
        def read(self):
            log.append("read")
            return super().read()

    def start(self, frames):
        log.append("begin")
        return Logged(begin(self, frames).read())

    begin = TorchEncoder.start
    monkeypatch.setattr(TorchEncoder, "start", start)
    run(network("tap"), ragged(tmp_path), ClipConfig(), max_frames=9)
    assert log == ["begin", *["begin", "read"] * 3, "read"]


def long_tracklet(root: Path, frames: int) -> Tracklet:
    """Some files, over and over."""
    short = write_tracklet(root, pid=1, camid=1, frames=10, height=64, width=32)
    return replace(short, frames=tuple(short.frames[i % 10] for i in range(frames)))


@pytest.mark.parametrize(("head", "sampling"), [("ica", "dense"), ("tap", "all")])
def test_a_tracklet_of_5000_frames_is_embedded_in_small_batches(tmp_path, head, sampling):
    tracklet, model = long_tracklet(tmp_path, 5000), network(head)
    extractor = extractor_of(model)
    assert isinstance(extractor, FrameExtractor)
    start, sizes = extractor.encoder.start, []

    def counting(frames):
        sizes.append(len(frames))
        return start(frames)

    extractor.encoder.start = counting
    clip = ClipConfig(num_frames=8, test_sampling=sampling)
    settings = ExtractSettings(clip=clip, max_frames=64, workers=0)
    (found,) = extractor.embed([tracklet], settings)
    assert sum(sizes) == 5000
    assert sizes[:-1] == [64] * (len(sizes) - 1)
    (expected,) = clip_by_clip(model, [tracklet], clip)
    assert np.abs(found.embedding - expected).max() < 1e-5


@pytest.mark.parametrize("sampling", ["dense", "all"])
def test_memory_does_not_grow_with_the_length(tmp_path, sampling):
    model = network("ica")
    settings = ExtractSettings(clip=ClipConfig(test_sampling=sampling), max_frames=32, workers=0)

    def peak(frames: int) -> int:
        tracklet = long_tracklet(tmp_path, frames)
        tracemalloc.start()  # sees the pixels: numpy reports them
        list(extractor_of(model).embed([tracklet], settings))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)  # loads what is loaded late
    # 1,300 frames of 32 x 16 more would take 2 MB.
    assert peak(1500) < peak(200) + 500_000


def test_a_long_clip_of_a_head_that_reads_maps_goes_through_the_backbone_in_pieces(tmp_path, monkeypatch):
    tracklet, model = long_tracklet(tmp_path, 300), network("maps")
    clip = ClipConfig(test_sampling="all")
    sizes: list[int] = []
    frame_maps = ClipEmbedder.frame_maps

    def noted(self: ClipEmbedder, frames: torch.Tensor) -> torch.Tensor:
        sizes.append(len(frames))
        return frame_maps(self, frames)

    with monkeypatch.context() as patched:
        patched.setattr(ClipEmbedder, "frame_maps", noted)
        (found,) = run(model, [tracklet], clip, max_frames=10)
    assert sum(sizes) == 300
    assert max(sizes) <= 10
    assert np.abs(found.embedding - clip_by_clip(model, [tracklet], clip)[0]).max() < 1e-5


# -- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("sampling", ["dense", "even", "all"])
def test_unreadable_frames_are_skipped_as_clip_by_clip_and_named(tmp_path, head, sampling):
    tracklets, model = ragged(tmp_path), network(head)
    for i in (3, 4, 5, 6, 7, 8):  # the whole second and third clip of tracklet 2
        tracklets[2].frame_path(i).write_bytes(b"\xff\xd8 no picture")
    tracklets[5].frame_path(0).unlink()
    clip = ClipConfig(num_frames=4, test_sampling=sampling)
    with pytest.raises(FrameError, match="0003C1T0001F00"):
        run(model, tracklets, clip)
    found = run(model, tracklets, clip, skip=True)
    assert np.abs(features(found) - clip_by_clip(model, tracklets, clip, skip=True)).max() < 1e-5
    assert not any(f.failure for f in found)
    named = "\n".join(m for f in found for m in f.unreadable)
    assert "0003C1T0001F006" in named
    if sampling != "even":
        assert "0006C1T0001F001" in named


@pytest.mark.parametrize("head", HEADS)
def test_a_tracklet_without_one_readable_frame_fails_alone(tmp_path, head):
    tracklets, model = ragged(tmp_path), network(head)
    for i in range(4):
        tracklets[3].frame_path(i).unlink()
    expected = clip_by_clip(model, [t for t in tracklets if t is not tracklets[3]], ClipConfig())
    found = run(model, tracklets, ClipConfig(), skip=True)
    assert [f.row for f in found] == list(range(6))
    assert found[3].embedding is None
    assert "no frame of tracklet 0004C1T0001 (pid 4, camid 1)" in found[3].failure
    kept = features([f for f in found if f.row != 3])
    assert np.abs(kept - expected).max() < 1e-5


def test_an_encoder_that_gives_nan_for_one_tracklet_spoils_no_other(tmp_path):
    tracklets, model = ragged(tmp_path), network("ica")
    expected = features(run(model, tracklets, ClipConfig()))
    extractor = extractor_of(model)
    start, seen = extractor.encoder.start, [0]

    def spoiled(frames):
        vectors = start(frames).read().clone()
        places = torch.arange(seen[0], seen[0] + len(frames))
        seen[0] += len(frames)
        vectors[(places >= 7) & (places < 16)] = torch.inf  # the frames of tracklet 2
        return Arriving(vectors)

    extractor.encoder.start = spoiled
    found = list(extractor.embed(tracklets, ExtractSettings(clip=ClipConfig(), max_frames=7, workers=0)))
    assert [f.row for f in found if f.failure] == [2]
    assert "tracklet 0003C1T0001 (pid 3, camid 1) is not finite" in found[2].failure
    keep = [0, 1, 3, 4, 5]
    assert np.array_equal(features(found)[keep], expected[keep])


def test_embedding_a_split_names_what_is_not_finite(tiny_split: Split, tiny_recipe: Recipe):
    model = network("tap")
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match=r"12 of 12 embeddings are not finite.*0007C1T0001"):
        opened(model, tiny_recipe).embed(tiny_split)


# -- encoders and heads ------------------------------------------------------------------------------------


class MeanColour(FrameEncoder):
    """A frame encoder that is no torch network: the mean colour."""

    name, fingerprint, height, width, num_features = "mean colour", "c0", 20, 10, 3

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        assert frames.dtype == torch.uint8
        return frames.float().mean(dim=(2, 3))


def test_any_frame_encoder_goes_through_the_same_extraction(tmp_path):
    tracklets = ragged(tmp_path)
    extractor = FrameExtractor(MeanColour(), TAP(3))
    recipe = Recipe(data=replace(Recipe().data, workers=0))
    found = opened(extractor, recipe, clip=ClipConfig(test_sampling="all")).embed(tracklets).features
    for row, t in zip(found, tracklets, strict=True):
        pixels = np.stack([resize_frame(read_tracklet_frame(t, i), 20, 10) for i in range(len(t))])
        assert np.abs(row - pixels.mean(axis=(0, 1, 2))).max() < 1e-4
    head = ICA(3, reduction=1).eval()
    with_head = opened(FrameExtractor(MeanColour(), head), recipe).embed(tracklets).features
    assert with_head.shape == (6, head.embedding_size)


def test_a_head_of_another_size_is_refused():
    with pytest.raises(ConfigError, match="mean colour gives 3 features a frame, the head reads 8"):
        FrameExtractor(MeanColour(), ICA(8))


def test_a_run_another_network_or_both_are_opened_file(tmp_path, tiny_recipe: Recipe, monkeypatch):
    model = build_embedder(tiny_recipe.model, tiny_recipe.input, num_classes=2, seed=0).eval()
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, recipe=tiny_recipe, pids=[1, 2], epoch=1, step=1)
    found = opened_file(tmp_path)
    assert isinstance(found.extractor, FrameExtractor)
    assert found.recipe == tiny_recipe
    asked: list[tuple[Path, str]] = []

    def opener(source, *, engine, device):
        asked.append((source, engine))
        encoder = MeanColour()
        encoder.num_features = 64
        return encoder

    monkeypatch.setattr("intraclip.embed.network.open_encoder", opener)
    mine = opened_file(path, engine="onnxruntime").extractor
    assert isinstance(mine.head, ICA)
    assert torch.equal(mine.head.bottleneck[0].weight, model.head.bottleneck[0].weight)
    other = opened_file(tmp_path / "net.toml", engine="openvino")
    assert isinstance(other.extractor.head, TAP)
    assert other.recipe == Recipe()
    both = opened_file(tmp_path / "net.toml", head=tmp_path)
    assert isinstance(both.extractor.head, ICA)
    assert both.recipe == tiny_recipe
    net = tmp_path / "net.toml"
    assert asked == [(path, "onnxruntime"), (net, "openvino"), (net, "auto")]


@pytest.mark.parametrize(("head", "size"), [("maps", 64), ("clips", 8)])
def test_a_network_that_reads_more_than_frame_vectors_gets_whole_clips(head, size):
    assert isinstance(extractor_of(network(head)), ClipExtractor)
    assert extractor_of(network(head)).embedding_size == size


def test_running_means_of_runs_across_batches():
    mean = RunningMean(2)
    rows = torch.arange(12, dtype=torch.float32).reshape(6, 2)
    yes = torch.ones(3, dtype=torch.bool)
    first = mean.add(rows[:3], counted=yes, ends=torch.tensor([True, False, False]))
    assert first.tolist() == [[0.0, 1.0]]
    counted, ends = torch.tensor([True, False, True, True]), torch.tensor([True, True, False, True])
    second = mean.add(rows[3:], counted=counted, ends=ends)
    assert second[0].tolist() == [4.0, 5.0]  # rows 1, 2 and 3
    assert mean.empty.tolist() == [False, True, False]
    assert second[2].tolist() == [9.0, 10.0]


def test_progress_counts_frames(tmp_path, tiny_recipe: Recipe):
    calls: list[tuple[int, int]] = []
    recipe = replace(tiny_recipe, run=replace(tiny_recipe.run, test_batch_frames=10))
    opened(network("tap"), recipe).embed(
        ragged(tmp_path), progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(10, 35), (20, 35), (30, 35), (35, 35)]


@pytest.mark.cuda
def test_a_result_is_there_although_later_work_is_not():
    device = torch.device("cuda", torch.cuda.current_device())
    large = torch.randn(4096, 4096, device=device)
    values = Arriving(large[0] * 2)
    torch.cuda._sleep(2_000_000_000)  # about a second
    later = torch.cuda.current_stream().record_event()
    with aside(device):
        again = (large[0] * 2).cpu()
    assert torch.equal(values.read(), again)
    assert not later.query()
