"""What `evaluate` writes says whose it is, so that gallery and link take it; and a gallery finds its network again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

import intraclip as ic
from data.miniature import write_mars
from intraclip.cli.main import main
from intraclip.config import Recipe
from intraclip.data.frames import read_tracklet_frame
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.errors import ConfigError, DataError
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven people in three cameras, who wear what tells them apart."""
    root = write_mars(tmp_path / "mars", train_pids=(1, 3), test_pids=range(2, 16, 2))
    for number, path in enumerate(sorted((root / "bbox_test").glob("[0-9][0-9][0-9][0-9]/*.jpg"))):
        clothes = np.random.default_rng(int(path.parent.name)).integers(30, 226, (8, 1, 3))
        noise = np.random.default_rng([1, number]).normal(0, 12, (64, 32, 3))
        frame = np.clip(clothes.repeat(8, axis=0) + noise, 0, 255).astype(np.uint8)
        path.write_bytes(simplejpeg.encode_jpeg(frame))
    return root


@pytest.fixture
def run(tmp_path: Path, tiny_recipe: Recipe) -> Path:
    model = build_embedder(tiny_recipe.model, tiny_recipe.input, num_classes=2, seed=0)
    save_checkpoint(
        tmp_path / "run" / "model.safetensors", model, recipe=tiny_recipe, pids=[1, 3], epoch=1, step=1
    )
    return tmp_path / "run"


def test_gallery_and_link_take_what_evaluate_wrote(run: Path, data: Path, tmp_path: Path, capsys):
    assert main(["evaluate", str(run), "--data", str(data)]) == 0
    file, people = str(run / "embeddings.npz"), str(tmp_path / "people")
    assert main(["gallery", "add", people, "--embeddings", file]) == 0
    assert main(["gallery", "calibrate", people, "--labelled", file]) == 0
    with ic.Gallery.open(people) as gallery:
        assert gallery.calibration() is not None
        assert gallery.info.fingerprint == ic.load(run).fingerprint
        assert "small" in gallery.info.model
    out = tmp_path / "out"
    assert main(["link", file, "--out", str(out), "--calibration", file, "--data", str(data)]) == 0
    assert (out / "people.csv").is_file()
    # The same tracklets, embedded by the gallery itself, are the same: none is added.
    capsys.readouterr()
    assert main(["gallery", "add", people, "--data", str(data), "--model", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 0


def test_evaluate_and_extract_write_the_same_embeddings_and_say_the_same_of_them(
    run: Path, data: Path, tmp_path: Path
):
    assert main(["evaluate", str(run), "--data", str(data)]) == 0
    assert main(["extract", str(run), "--data", str(data), "--out", str(tmp_path / "e.npz")]) == 0
    evaluated, extracted = (read_embeddings(p) for p in (run / "embeddings.npz", tmp_path / "e.npz"))
    np.testing.assert_array_equal(evaluated.embeddings.features, extracted.embeddings.features)
    assert evaluated.embeddings.names == extracted.embeddings.names
    same = ("fingerprint", "encoder", "data", "clip", "dataset", "split", "protocol")
    assert {k: evaluated.metadata[k] for k in same} == {k: extracted.metadata[k] for k in same}
    assert evaluated.fingerprint == evaluated.embeddings.fingerprint
    result = json.loads((run / "evaluation.json").read_text())
    assert result["fingerprint"] == evaluated.fingerprint


def test_evaluate_runs_on_another_engine_and_with_workers(run: Path, data: Path, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    argv = ["evaluate", str(run), "--data", str(data), "--json"]
    found, expected = [], None
    for more in ([], ["--engine", "onnxruntime"], ["--workers", "1"]):
        capsys.readouterr()
        assert main([*argv, *more]) == 0
        found.append(json.loads(capsys.readouterr().out))
        features = read_embeddings(run / "embeddings.npz").embeddings.features
        expected = expected if more else features
        np.testing.assert_allclose(features, expected, atol=1e-4)
    assert len({json.dumps(result["fingerprint"]) for result in found}) == 1
    assert found[0]["scores"] == found[2]["scores"]
    with pytest.raises(ConfigError, match="--workers -1"):
        ic.evaluate(run, data=data, workers=-1)


def test_from_python_evaluate_takes_a_folder_or_a_split(run: Path, data: Path):
    whole = ic.evaluate(run, data=str(data))
    assert whole["scores"] == ic.evaluate(str(run), data=ic.read(data))["scores"]
    protocol = next(iter(whole["scores"]))
    scores = ic.score(ic.load(run).embed(ic.read(data)), protocol=protocol)
    assert scores.to_json_dict().items() <= whole["scores"][protocol].items()
    assert scores.intervals is not None
    assert scores.intervals.to_json_dict() == whole["scores"][protocol]["intervals"]


def test_a_gallery_is_searched_with_clips_by_the_network_that_made_it(run: Path, data: Path, tmp_path: Path):
    people = tmp_path / "people"
    add = ["gallery", "add", str(people), "--data", str(data), "--model", str(run), "--sampling", "all"]
    assert main(add) == 0
    tracklet = ic.read(data).query[0]
    clip = [read_tracklet_frame(tracklet, i) for i in range(len(tracklet))]
    network = ic.load(run, sampling="all")
    with ic.Gallery.open(people) as gallery:
        found = gallery.search(clip, k=3)
        assert found.matches[0].record.id == tracklet.name
        e = network.embed([clip])
        for query in (e, e[0], e[0].tolist(), tracklet, np.stack(clip)):
            again = gallery.search(query, k=3)
            assert [m.record.id for m in again.matches] == [m.record.id for m in found.matches]
        with pytest.raises(DataError, match="another model or sampling"):
            gallery.search(replace(e, fingerprint="f00d"))
        with pytest.raises(DataError, match="2 embeddings are 2 queries"):
            gallery.search(network.embed([clip, clip]))
        with pytest.raises(DataError, match="another model or sampling"):
            gallery.search(clip, network=ic.load(run))
    (run / "model.safetensors").unlink()
    with ic.Gallery.open(people) as gallery, pytest.raises(DataError, match="open it yourself"):
        gallery.search(clip)


def test_a_gallery_of_the_shipped_network_needs_no_name(tmp_path: Path, data: Path):
    people = tmp_path / "people"
    assert main(["gallery", "add", str(people), "--data", str(data), "--model", "base"]) == 0
    tracklet = ic.read(data).query[0]
    with ic.Gallery.open(people) as gallery:
        assert gallery.search(tracklet).matches[0].record.id == tracklet.name
