from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from conftest import write_tracklet
from intraclip.config import ClipConfig
from intraclip.core.media import read_picture
from intraclip.embed.extract import extractor_of
from intraclip.embed.extractors import ExtractSettings, FrameExtractor
from intraclip.embed.streaming import LiveEmbedder
from intraclip.errors import ConfigError, DataError
from plain_extraction import network, one_thread

__all__ = ["one_thread"]

LENGTHS = {"a": 1, "b": 9, "c": 4, 7: 6}


def extractor(head: str = "ica") -> FrameExtractor:
    found = extractor_of(network(head))
    assert isinstance(found, FrameExtractor)
    return found


@pytest.fixture
def people(tmp_path):
    return {
        key: write_tracklet(tmp_path, pid=i + 1, camid=1, frames=n)
        for i, (key, n) in enumerate(LENGTHS.items())
    }


def crops(tracklet):
    return [read_picture(tracklet.frame_path(i)) for i in range(len(tracklet))]


@pytest.mark.parametrize("head", ["tap", "ica"])
@pytest.mark.parametrize("sampling", ["dense", "all"])
def test_after_every_frame_it_equals_extraction_of_the_frames_so_far(people, head, sampling):
    clip = ClipConfig(num_frames=4, test_sampling=sampling)
    batch, live = extractor(head), LiveEmbedder(extractor(head), clip)
    settings = ExtractSettings(clip=clip, max_frames=256, workers=0)
    seen = {key: crops(t) for key, t in people.items()}
    from dataclasses import replace

    for moment in range(max(LENGTHS.values())):
        present = [key for key in people if moment < LENGTHS[key]]
        found = live.update(present, [seen[key][moment] for key in present])
        so_far = [replace(people[key], frames=people[key].frames[: moment + 1]) for key in present]
        expected = np.stack([f.embedding for f in batch.embed(so_far, settings)])
        assert np.abs(found - expected).max() < 1e-5
    assert live.fingerprint == batch.fingerprint(clip)


def test_several_threads_may_use_it(people):
    alone, shared = LiveEmbedder(extractor()), LiveEmbedder(extractor())
    with ThreadPoolExecutor(len(people)) as pool:
        found = list(
            pool.map(lambda key: [shared.update([key], [crop]) for crop in crops(people[key])], people)
        )
    assert len(shared) == len(people)
    for key, embeddings in zip(people, found, strict=True):
        expected = [alone.update([key], [crop]) for crop in crops(people[key])]
        assert np.abs(np.stack(embeddings) - np.stack(expected)).max() < 1e-5


@pytest.mark.parametrize("sampling", ["dense", "all"])
def test_several_frames_at_once_are_the_same_as_one_by_one(people, sampling):
    clip = ClipConfig(num_frames=4, test_sampling=sampling)
    one, many = LiveEmbedder(extractor(), clip), LiveEmbedder(extractor(), clip, max_frames=3)
    frames = crops(people["b"])
    for frame in frames:
        one.update(["b"], [frame])
    found = many.update(["b"] * 9, frames)
    assert np.abs(found - one.embedding("b")).max() < 1e-5


def test_the_network_runs_once_an_update_and_never_on_more_than_max_frames(people):
    shared = extractor()
    encode, sizes = shared.encoder.encode, []

    def counting(frames):
        sizes.append(len(frames))
        return encode(frames)

    shared.encoder.encode = counting
    live = LiveEmbedder(shared, max_frames=8)
    live.update(list(people), [crops(t)[0] for t in people.values()])
    assert sizes == [4]
    live.update(["b"] * 9 + ["c"] * 4, crops(people["b"]) + crops(people["c"]))
    assert sizes == [4, 8, 5]


def test_what_is_held_does_not_grow_with_the_length(people):
    live = LiveEmbedder(extractor(), ClipConfig(num_frames=4))
    frame = crops(people["a"])[0]
    live.update(["a"] * 5, [frame] * 5)
    before = {k: np.size(v) for k, v in vars(live._live["a"]).items()}
    live.update(["a"] * 401, [frame] * 401)
    assert {k: np.size(v) for k, v in vars(live._live["a"]).items()} == before


def test_finished_tracklets_are_forgotten(people):
    live = LiveEmbedder(extractor())
    live.update(["a", "b"], [crops(people["a"])[0], crops(people["b"])[0]])
    expected = live.embedding("a")
    assert np.array_equal(live.finish("a"), expected)
    assert "a" not in live
    assert len(live) == 1
    with pytest.raises(DataError, match="tracklet 'a' is not live; 1 are"):
        live.embedding("a")
    again = live.update(["a"], [crops(people["c"])[0]])  # the same id may come back as somebody new
    assert not np.allclose(again[0], expected)


def test_wrong_arguments_change_nothing(people):
    live = LiveEmbedder(extractor(), max_tracklets=2)
    good = crops(people["a"])[0]
    live.update(["a"], [good])
    before = live.embedding("a")
    for ids, frames, message in [
        (["a", "b"], [good], "2 tracklet ids for 1 frames"),
        (["a", "b"], [good, good.astype(np.float32)], r"tracklet 'b' is float32 \[48, 24, 3\], uint8"),
        (["a", "b"], [good, good[..., 0]], r"uint8 \[48, 24\], uint8 \[h, w, 3\]"),
        (["a", "b"], [good, good[:0]], r"\[0, 24, 3\]"),
        (["a", "b"], [good, None], "NoneType"),
        (["a", "b", "c"], [good] * 3, "1 tracklets are live and 2 would begin, at most 2 may"),
    ]:
        with pytest.raises(DataError, match=message):
            live.update(ids, frames)
    assert len(live) == 1
    assert np.array_equal(live.embedding("a"), before)
    assert live.update([], []).shape == (0, 32)
    with pytest.raises(ConfigError, match="'even' picks frames from the whole tracklet"):
        LiveEmbedder(extractor(), ClipConfig(test_sampling="even"))


@pytest.mark.parametrize("sampling", ["dense", "all"])
def test_a_frame_whose_vector_is_not_finite_is_left_out_and_named(people, sampling):
    shared, clip = extractor(), ClipConfig(num_frames=2, test_sampling=sampling)
    encode, spoil = shared.encoder.encode, [False]

    def spoiled(frames):
        vectors = encode(frames).clone()
        if spoil[0]:
            vectors[0] = torch.nan
        return vectors

    shared.encoder.encode = spoiled
    live = LiveEmbedder(shared, clip)
    b, c = crops(people["b"]), crops(people["c"])
    good = live.update(["b", "c"], [b[0], c[0]])
    spoil[0] = True
    found = live.update(["b", "c", "new"], [b[1], c[1], b[2]])
    assert np.allclose(found[0], good[0], atol=1e-6)  # only its first frame counts
    assert not np.allclose(found[1], good[1], atol=1e-6)
    assert list(live.failures) == [
        "tracklet 'b': the vector of a frame is not finite (NaN or infinite), it is left out"
    ]
    assert np.isnan(live.update(["late"], [b[3]])).all()
    with pytest.raises(DataError, match=r"tracklet 'late' has no finite embedding: .*left out"):
        live.finish("late")
    assert "late" not in live


def test_a_head_that_reads_the_order_of_frames_cannot_be_carried_on():
    with pytest.raises(ConfigError, match=r"its head reads maps or the order of frames.*such as tap or ica"):
        LiveEmbedder(extractor_of(network("maps")))


@pytest.mark.parametrize(
    "ids",
    [
        lambda *n: list(n),
        lambda *n: np.array(n),
        lambda *n: torch.tensor(n),
        lambda *n: [torch.tensor(i) for i in n],
        lambda *n: [np.int32(i) for i in n],
        lambda *n: tuple(np.array(i) for i in n),
        lambda *n: np.array(n, dtype=np.float32),
    ],
)
def test_an_id_is_its_value_whatever_holds_it(people, ids):
    frames = crops(people["b"])
    live, plain = LiveEmbedder(extractor()), LiveEmbedder(extractor())
    for first in (0, 2, 4):
        found = live.update(ids(5, 6), frames[first : first + 2])
        expected = plain.update([5, 6], frames[first : first + 2])
        assert np.array_equal(found, expected)
    assert len(live) == 2
    assert all(one in live for one in (5, *ids(6)))
    assert np.array_equal(live.embedding(ids(5)[0]), plain.embedding(5))
    live.finish(ids(6)[0])
    assert len(live) == 1


@pytest.mark.parametrize(
    ("ids", "match"),
    [
        ([5, None], "the tracklet id None is none"),
        ([5, True], "the tracklet id True is none"),
        ([5, float("nan")], "the tracklet id nan is none"),
        ([5, np.bool_(True)], "the tracklet id True is none"),
        ([5, [6]], "a tracklet id is a list, no single value"),
        (torch.tensor([[5], [6]]), "a tracklet id is a Tensor, no single value"),
        ([5], "1 tracklet ids for 2 frames"),
        ([5, 6, 7], "3 tracklet ids for 2 frames"),
    ],
)
def test_ids_that_are_none_change_nothing(people, ids, match):
    frames = crops(people["b"])
    live = LiveEmbedder(extractor())
    live.update([5], frames[:1])
    before = live.embedding(5)
    with pytest.raises(DataError, match=match):
        live.update(ids, frames[1:3])
    assert len(live) == 1
    assert np.array_equal(live.embedding(5), before)


def test_a_network_that_fails_changes_nothing(people, monkeypatch):
    frames = crops(people["b"])
    live = LiveEmbedder(extractor(), ClipConfig(num_frames=2, test_sampling="dense"), max_frames=2)
    live.update([5, 5, 5], frames[:3])
    before, encode = live.embedding(5), live.extractor.encoder.encode
    calls = []

    def failing(batch):
        calls.append(len(batch))
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return encode(batch)

    monkeypatch.setattr(live.extractor.encoder, "encode", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        live.update([5, 6, 5, 7], frames[3:7])
    monkeypatch.undo()
    assert len(live) == 1
    assert np.array_equal(live.embedding(5), before)


def test_crops_may_be_tensors(people):
    frames = crops(people["b"])[:2]
    one, other = LiveEmbedder(extractor()), LiveEmbedder(extractor())
    assert np.array_equal(
        one.update([1, 2], frames), other.update([1, 2], torch.from_numpy(np.stack(frames)))
    )
