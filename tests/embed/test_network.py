"""`load` opens networks of every kind; `Network.embed` takes clips of every kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import intraclip as ic
from intraclip.config import ClipConfig, Recipe
from intraclip.data.frames import read_tracklet_frame
from intraclip.data.in_memory import ArrayTracklet
from intraclip.embed.default import load_noted, network_note
from intraclip.embed.extract import extractor_of
from intraclip.embed.extractors import ExtractSettings
from intraclip.embed.network import Network, load
from intraclip.errors import CheckpointError, ConfigError, DataError
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint
from intraclip.types import UNKNOWN_PID, Split
from plain_extraction import opened

TOML = """
network = "timm:tf_efficientnet_lite0"
height = 64
width = 32
channel_order = "RGB"
value_range = "0..1"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
weights = "random"
"""


def network_of(recipe: Recipe, head: str = "ica", **model: object) -> Network:
    model_config = replace(recipe.model, head=head, **model)  # type: ignore[arg-type]
    network = build_embedder(model_config, recipe.input, num_classes=6, seed=0).eval()
    return Network(extractor_of(network), ExtractSettings.of(recipe))


@pytest.fixture
def run(tiny_recipe: Recipe, tmp_path: Path) -> Path:
    model = build_embedder(tiny_recipe.model, tiny_recipe.input, num_classes=6, seed=0)
    save_checkpoint(
        tmp_path / "run" / "model.safetensors",
        model,
        recipe=tiny_recipe,
        pids=range(1, 7),
        epoch=1,
        step=1,
    )
    return tmp_path / "run"


@pytest.mark.parametrize("head", ["ica", "gao_rnn"])
@pytest.mark.parametrize("sampling", ["dense", "even", "all"])
def test_clips_of_every_kind_get_the_embeddings_of_their_tracklets(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, head: str, sampling: str
):
    clip = ClipConfig(num_frames=4, test_sampling=sampling)  # type: ignore[arg-type]
    network = network_of(replace(tiny_recipe, clip=clip), head)
    tracklets = tiny_split.query[:3]
    expected = network.embed(tracklets)
    frames = [[read_tracklet_frame(t, i) for i in range(len(t))] for t in tracklets]
    for number, pictures in enumerate(frames):
        (tmp_path / f"{number}").mkdir()
        for i, picture in enumerate(pictures):
            cv2.imwrite(str(tmp_path / f"{number}/{i}.png"), picture[..., ::-1])
    arrays = [np.stack(pictures) for pictures in frames]
    kinds = {
        "arrays": arrays,
        "one array": np.stack(arrays),
        "tensors": [torch.from_numpy(array) for array in arrays],
        "pictures": frames,
        "folders": [tmp_path / "0", str(tmp_path / "1"), tmp_path / "2"],
        "mixed": [arrays[0], tmp_path / "1", tracklets[2]],
    }
    for name, clips in kinds.items():
        found = network.embed(clips)
        np.testing.assert_allclose(found.features, expected.features, atol=1e-5, err_msg=name)
        assert found.fingerprint == network.fingerprint != ""
        assert not found.is_query.any()
    assert network.embed(arrays).names == ("clip 0", "clip 1", "clip 2")
    assert set(network.embed(arrays).pids.tolist()) == {UNKNOWN_PID}
    assert network.embed(kinds["folders"]).names == ("0", "1", "2")
    assert expected.names == tuple(t.name for t in tracklets)
    assert expected.pids.tolist() == [t.pid for t in tracklets]


def test_a_split_stands_for_its_test_tracklets(tiny_split: Split, tiny_recipe: Recipe):
    network = network_of(tiny_recipe)
    found = network.embed(tiny_split)
    model = network.extractor.encoder.model  # type: ignore[attr-defined]
    expected = opened(model, tiny_recipe).embed(tiny_split)
    np.testing.assert_array_equal(found.features, expected.features)
    assert found.is_query.tolist() == expected.is_query.tolist()
    with pytest.raises(DataError, match="no test tracklets"):
        network.embed(replace(tiny_split, query=(), gallery=()))


def test_one_clip_needs_no_list_and_the_same_clip_twice_gets_two_names(
    tiny_recipe: Recipe, tiny_split: Split
):
    network = network_of(tiny_recipe)
    clip = np.random.default_rng(0).integers(0, 256, (3, 20, 10, 3), dtype=np.uint8)
    assert len(network.embed(clip)) == len(network.embed(torch.from_numpy(clip))) == 1
    twice = network.embed([tiny_split.query[0]] * 2)
    assert len(set(twice.names)) == 2
    np.testing.assert_allclose(twice[0], twice[1], atol=1e-6)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "no clips to embed"),
        (7, "int is no list of clips"),
        ([7], "clip 0 is int; a clip is an array"),
        ([np.zeros((4, 4, 3), np.uint8)], r"clip 0 is uint8 \[4, 4, 3\].*picture\[None\]"),
        ([np.zeros((2, 4, 4, 3), np.float32)], r"frame 0 of clip 0 is float32 \[4, 4, 3\]"),
        ([np.zeros((2, 3, 4, 4), np.uint8)], "move the colours to the end"),
        ([np.zeros((0, 4, 4, 3), np.uint8)], "clip 0 has no frames"),
        ([[]], "clip 0 has no frames"),
        (["no/such/folder"], "is not there"),
        ([__file__], r"is a file.*ic\.ingest"),
    ],
)
def test_what_is_no_clip_is_refused(tiny_recipe: Recipe, clips: object, message: str):
    with pytest.raises(DataError, match=message):
        network_of(tiny_recipe).embed(clips)


def test_embeddings_that_are_not_finite_are_refused(tiny_recipe: Recipe):
    network = network_of(tiny_recipe)
    for parameter in network.extractor.head.parameters():  # type: ignore[attr-defined]
        parameter.data.fill_(float("nan"))
    with pytest.raises(DataError, match=r"1 of 1 embeddings are not finite .*clip 0"):
        network.embed([np.zeros((2, 4, 9, 3), np.uint8)])


def test_arrays_that_are_views_are_read_as_they_look(tiny_recipe: Recipe):
    """Backwards, strided, and read-only ones."""
    network = network_of(tiny_recipe)
    clip = np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3), dtype=np.uint8)
    bgr = np.ascontiguousarray(clip[..., ::-1])
    bgr.flags.writeable = False
    np.testing.assert_array_equal(network.embed([bgr[..., ::-1]]).features, network.embed([clip]).features)
    tall = np.repeat(clip, 2, axis=2)
    np.testing.assert_array_equal(network.embed([tall[:, :, ::2]]).features, network.embed([clip]).features)


def test_live_embeddings_equal_those_of_the_whole_clip(tiny_recipe: Recipe):
    network = network_of(replace(tiny_recipe, clip=ClipConfig(test_sampling="even")))
    clip = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    live = network.live()
    for frame in clip:
        found = live.update(["a"], [frame])
    whole = Network(network.extractor, ExtractSettings(clip=ClipConfig(test_sampling="all")))
    np.testing.assert_allclose(found[0], whole.embed([clip])[0], atol=1e-5)
    assert live.fingerprint == whole.fingerprint


# -- load --------------------------------------------------------------------------------------------------


def test_a_run_opens_by_its_folder_and_by_its_file(run: Path, tiny_recipe: Recipe):
    found = [load(run), load(str(run)), load(run / "model.safetensors")]
    assert len({network.fingerprint for network in found}) == 1
    assert found[0].settings.clip == tiny_recipe.clip
    other = load(run, sampling="all")
    assert other.settings.clip.test_sampling == "all"
    assert other.fingerprint != found[0].fingerprint


def test_a_sampling_that_does_not_exist_is_refused(run: Path):
    with pytest.raises(ConfigError, match="test_sampling: 'some' is not one of dense, even, all"):
        load(run, sampling="some")  # type: ignore[arg-type]


def test_a_description_and_a_name_of_timm_open(tmp_path: Path):
    (tmp_path / "net.toml").write_text(TOML)
    found = load(tmp_path / "net.toml")
    assert found.embedding_size == 1280
    assert load("timm:tf_efficientnet_lite1").embedding_size == 1280
    with pytest.raises(ConfigError, match="did you mean 'resnet50'"):
        load("timm:resnet5o")


def test_the_shipped_network_opens_and_finds_clothes_alike():
    rng = np.random.default_rng(0)

    def person(top: tuple[int, int, int], trousers: tuple[int, int, int]) -> np.ndarray:
        frame = np.full((96, 48, 3), 120)
        frame[15:50, 12:36], frame[50:92, 14:34] = top, trousers
        return np.clip(frame + rng.normal(0, 10, (4, 96, 48, 3)), 0, 255).astype(np.uint8)

    red, blue = (200, 40, 40), (30, 40, 190)
    e = load("base").embed([person(red, blue), person(red, blue), person(blue, red)])
    assert ic.similarity(e[0], e[1]) > ic.similarity(e[0], e[2])


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("bsae", ConfigError, "did you mean 'base'.*a run folder; a file .safetensors"),
        ("no-such.onnx", CheckpointError, r"no-such\.onnx"),
        ("no-such.safetensors", CheckpointError, "holds no trained model|there is no checkpoint"),
        ("resnet50-imagenet", ConfigError, "is a backbone of the zoo, and embeds nobody"),
        (__file__, ConfigError, "is none of these"),
    ],
)
def test_what_is_no_network_is_refused_with_what_there_is(source, error, message):
    with pytest.raises(error, match=message):
        load(source)


def test_a_network_is_opened_again_from_what_was_noted(run: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note = network_note(Path("run"), sampling="all")
    monkeypatch.chdir("/")
    assert load_noted(note).fingerprint == load(run, sampling="all").fingerprint
    assert load_noted(network_note(Path("base"))).fingerprint == load("base").fingerprint
    head = network_note(Path("net.toml"), head=run)
    assert (head["encoder"], head["run"]) == ("net.toml", str(run))


@pytest.mark.parametrize("place", ["run", "encoder"])
def test_notes_that_galleries_hold_are_opened(run: Path, place: str):
    note = {"run": None, "encoder": None, "engine": None, "sampling": "all"} | {place: str(run)}
    assert load_noted(note).fingerprint == load(run, sampling="all").fingerprint


def test_array_tracklets_show_where_they_are():
    found = ArrayTracklet.of(np.zeros((3, 8, 4, 3), np.uint8), name="clip 3")
    assert repr(found) == "Tracklet(name='clip 3', pid=-2, camid=0, 3 frames in memory)"
    assert found == ArrayTracklet.of(np.ones((3, 8, 4, 3), np.uint8), name="clip 3")
