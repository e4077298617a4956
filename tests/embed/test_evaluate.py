from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import write_tracklet
from intraclip.config import ClipConfig, Recipe
from intraclip.data.frames import read_tracklet_frame, resize_frame
from intraclip.data.normalise import normalise
from intraclip.data.test_clips import tracklet_clips
from intraclip.embed.embeddings_io import load_embeddings, save_embeddings
from intraclip.embed.evaluate import evaluate
from intraclip.embed.extract import with_ids
from intraclip.errors import CheckpointError, ConfigError, DataError, OutputError
from intraclip.lab.demo import colour_histograms
from intraclip.metrics.protocols import PROTOCOLS
from intraclip.metrics.ranking import score
from intraclip.metrics.side_by_side import protocols_named
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.train.loop import train
from intraclip.types import Split
from plain_extraction import opened


def untrained(recipe: Recipe) -> ClipEmbedder:
    return build_embedder(recipe.model, recipe.input, num_classes=6, seed=0).eval()


@pytest.mark.parametrize("sampling", ["dense", "even", "all"])
@pytest.mark.parametrize("budget", [1, 7, 1000])
def test_embeddings_equal_the_plain_loop_for_any_batch_size(
    tiny_split: Split, tiny_recipe: Recipe, sampling: str, budget: int
):
    recipe = replace(
        tiny_recipe,
        clip=ClipConfig(num_frames=4, test_sampling=sampling),  # type: ignore[arg-type]
        run=replace(tiny_recipe.run, test_batch_frames=budget),
    )
    model = untrained(recipe)
    found = opened(model, recipe).embed(tiny_split.test).features
    for row, tracklet in zip(found, tiny_split.test, strict=True):
        pixels = [resize_frame(read_tracklet_frame(tracklet, i), 32, 16) for i in range(len(tracklet))]
        frames = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            clips = [
                model.embed(
                    normalise(frames[clip.indices][None], mean=recipe.input.mean, std=recipe.input.std),
                    torch.from_numpy(clip.mask)[None],
                )[0]
                for clip in tracklet_clips(len(tracklet), recipe.clip)
            ]
        assert np.allclose(row, torch.stack(clips).mean(dim=0).numpy(), atol=1e-5)


def test_a_network_that_returns_nan_is_refused(tiny_split: Split, tiny_recipe: Recipe):
    model = untrained(tiny_recipe)
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match=r"12 of 12 embeddings are not finite.*0007C1T0001"):
        opened(model, tiny_recipe).embed(tiny_split)


def test_training_beats_the_untrained_network(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    # Of the two orders inside ICA, the one whose random weights happen to tell these six people apart less well.
    recipe = replace(
        tiny_recipe,
        model=replace(tiny_recipe.model, head_settings={"order": "fc-bn-relu"}),
        optimizer=replace(tiny_recipe.optimizer, epochs=25),
    )
    protocol = PROTOCOLS["mars-no-query"]
    # Six identities teach nothing about others, so the people trained on are searched across the cameras.
    seen = replace(
        tiny_split,
        train=(),
        query=tuple(t for t in tiny_split.train if t.camid == 1),
        gallery=tuple(t for t in tiny_split.train if t.camid == 2),
    )
    before = score(opened(untrained(recipe), recipe).embed(seen), protocol)
    train(recipe, data=tiny_split, out=tmp_path / "run")
    result = evaluate(tmp_path / "run", data=seen)
    after = result["scores"]["mars-no-query"]
    assert before.mAP < 0.9
    assert after["mAP"] > before.mAP
    assert after["rank1"] == 1.0
    assert json.loads((tmp_path / "run/evaluation.json").read_text()) == json.loads(json.dumps(result))
    saved = load_embeddings(tmp_path / "run/embeddings.npz")
    assert saved.names == tuple(t.name for t in seen.test)
    assert score(saved, protocol).mAP == after["mAP"]


def test_all_protocols_come_side_by_side(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    train(tiny_recipe, data=tiny_split, out=tmp_path / "run")
    result = evaluate(tmp_path / "run", data=tiny_split, protocol="all", distance="cosine", sampling="even")
    assert list(result["scores"]) == [p.name for p in protocols_named("all")]
    assert result["scores"]["prid2011"]["same_as"] == ["mars-no-query", "ilids-vid", "lsvid", "cross-camera"]
    assert {s["distance"] for s in result["scores"].values()} == {"cosine"}
    assert result["sampling"]["test_sampling"] == "even"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"protocol": "mars"}, "protocol 'mars' is not one of"),
        ({"distance": "l2"}, "distance 'l2' is not one of"),
        ({}, "no query tracklets, so there is nothing to score"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is_embedded(
    tiny_split: Split, tmp_path: Path, wrong: dict[str, Any], message: str
):
    split = tiny_split if wrong else replace(tiny_split, query=())
    with pytest.raises((ConfigError, DataError), match=message):  # there is no network even
        evaluate(tmp_path, data=split, **wrong)


def test_evaluating_nothing_is_said(tiny_split: Split, tmp_path: Path):
    with pytest.raises(CheckpointError, match="holds no trained model"):
        evaluate(tmp_path, data=tiny_split)


def test_embeddings_files_round_trip_and_bad_ones_are_explained(tiny_split: Split, tmp_path: Path):
    embeddings = with_ids(colour_histograms(tiny_split.test), tiny_split)
    save_embeddings(tmp_path / "a.npz", embeddings)
    back = load_embeddings(tmp_path / "a.npz")
    assert np.array_equal(back.features, embeddings.features)
    assert back.names == embeddings.names
    with pytest.raises(OutputError, match=r"written as \.npz"):
        save_embeddings(tmp_path / "a.txt", embeddings)
    with pytest.raises(DataError, match="there is no embeddings file"):
        load_embeddings(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="cannot be read"):
        load_embeddings(tmp_path / "bad.npz")
    np.savez(tmp_path / "part.npz", features=np.zeros((1, 2)))
    with pytest.raises(DataError, match="lacks pids, camids, is_query; it has features"):
        load_embeddings(tmp_path / "part.npz")


def test_colour_histograms_find_people_by_their_colours(tiny_split: Split, tmp_path: Path):
    third = tuple(write_tracklet(tmp_path, pid=t.pid, camid=3) for t in tiny_split.query)
    split = replace(tiny_split, gallery=third)
    features = colour_histograms(split.test)
    assert features.shape == (12, 768)
    assert np.allclose((features**2).sum(axis=1), 6, atol=1e-4)  # six stripes of sum 1
    assert score(with_ids(features, split), PROTOCOLS["mars-no-query"]).rank(1) > 0.5
