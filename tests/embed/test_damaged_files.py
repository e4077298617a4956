"""One damaged byte in a file is refused or changes nothing that is read; and what older versions wrote opens."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from intraclip.config import InputConfig, ModelConfig, Recipe
from intraclip.embed.embeddings_io import EmbeddingsFile, read_embeddings, save_embeddings
from intraclip.embed.embeddings_writer import save_chunks
from intraclip.embed.part_store import Part, PartStore
from intraclip.errors import CheckpointError, DataError
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.checkpoint import load_model, read_checkpoint
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint
from intraclip.train.resuming import load_optimizer, verify

OLD = Path(__file__).parent.parent / "written_by_0_1"
TRIALS = 300


def embeddings(n: int = 6) -> Embeddings:
    rng = np.random.default_rng(0)
    return Embeddings(
        features=rng.normal(size=(n, 4)).astype(np.float32),
        pids=np.arange(n) % 3,
        camids=np.arange(n) % 2,
        is_query=np.arange(n) < 2,
        names=tuple(f"cam{i % 2}_t{i:04d}" for i in range(n)),
    )


TIMES = np.stack([np.arange(6.0), np.arange(6.0) + 1], axis=1)


def content(file: EmbeddingsFile) -> Any:
    e, times = file.embeddings, file.times
    arrays = [a.tolist() for a in (e.features, e.pids, e.camids, e.is_query)]
    return arrays, e.names, None if times is None else times.tolist(), dict(file.metadata)


def damaged(whole: bytes, seed: int):
    """The bytes with one of them changed, `TRIALS` times."""
    rng = np.random.default_rng(seed)
    for _ in range(TRIALS):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        yield bytes(changed)


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_damaged_embeddings_are_never_read_as_others(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"e.{kind}"
    save_embeddings(path, embeddings(), times=TIMES, metadata={"fingerprint": "0123", "encoder": "x"})
    expected, refused = content(read_embeddings(path)), 0
    for changed in damaged(path.read_bytes(), seed=1):
        path.write_bytes(changed)
        try:
            found = content(read_embeddings(path))
        except DataError:
            refused += 1
        else:
            assert found == expected
    assert refused > TRIALS / 3


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_a_name_that_is_not_utf8_is_written_and_read(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / os.fsdecode(b"entr\xe9e") / os.fsdecode(b"\xe9." + kind.encode())
    save_embeddings(path, embeddings(), times=TIMES)
    assert np.array_equal(read_embeddings(path).embeddings.features, embeddings().features)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_the_digest_does_not_depend_on_how_a_file_was_written(tmp_path, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    whole = embeddings()
    halves = [
        Embeddings(
            features=whole.features[part],
            pids=whole.pids[part],
            camids=whole.camids[part],
            is_query=whole.is_query[part],
            names=whole.names[part],
        )
        for part in (slice(0, 2), slice(2, 6))
    ]
    path = tmp_path / f"e.{kind}"
    save_chunks(path, [(halves[0], TIMES[:2]), (halves[1], TIMES[2:])], metadata={"a": 1})
    assert read_embeddings(path).embeddings.names == whole.names


def test_other_content_under_the_same_digest_is_called_damaged(tmp_path):
    path = tmp_path / "e.npz"
    save_embeddings(path, embeddings())
    with np.load(path) as file:
        arrays = dict(file)
    arrays["pids"] = arrays["pids"][::-1]
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="is damaged: it holds other embeddings than were written"):
        read_embeddings(path)


def checkpoint_content(path: Path) -> Any:
    found = verify(path)
    model = load_model(found, device=torch.device("cpu"))
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    load_optimizer(optimizer, found)
    weights = {k: v.tolist() for k, v in model.state_dict().items()}
    # As text: NaN is no NaN.
    header = [asdict(found.recipe), found.pids, found.epoch, found.step, dict(found.progress)]
    return json.dumps([*header, weights, optimizer.state_dict()["param_groups"]])


def test_damaged_checkpoints_are_never_read_as_others(tmp_path):
    recipe = Recipe(
        seed=9,
        input=InputConfig(height=32, width=16),
        model=ModelConfig(backbone="small", head="ica", weights="", backbone_settings={"width": 0.05}),
    )
    model = build_embedder(recipe.model, recipe.input, num_classes=2, seed=1)
    path = tmp_path / "c.safetensors"
    save_checkpoint(
        path,
        model,
        recipe=recipe,
        pids=[4, 7],
        epoch=2,
        step=20,
        progress={"sums": {"loss": 1.5}, "unreadable": 0, "scaler": {}},
        optimizer=torch.optim.Adam(model.parameters()),
    )
    expected, whole = checkpoint_content(path), path.read_bytes()
    size = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for number, changed in enumerate(damaged(whole[:size], seed=2)):
        if number == TRIALS // 3:
            break
        path.write_bytes(changed + whole[size:])
        try:
            found = checkpoint_content(path)
        except CheckpointError:
            refused += 1
        else:
            assert found == expected
    assert refused > TRIALS / 6


def test_a_damaged_part_of_an_extraction_is_made_again(tmp_path):
    store = PartStore(tmp_path / "e.npz")
    store.begin({"data": "x"}, [range(0, 2)], resume=False)
    store.write(
        0,
        Part(rows=np.arange(2), features=np.ones((2, 3), np.float32), failures={}, unreadable=("a frame",)),
    )
    path = next(store.folder.glob("*.npz"))
    assert store.read(0).unreadable == ("a frame",)
    wrong = []
    for changed in damaged(path.read_bytes(), seed=3):
        path.write_bytes(changed)
        if store.finished(0):
            part = store.read(0)
            same = part.rows.tolist() == [0, 1] and part.features.tolist() == [[1, 1, 1]] * 2
            if not same or part.unreadable != ("a frame",) or part.failures:
                wrong.append(part)
    assert not wrong


@pytest.mark.parametrize("name", ["embeddings.npz", "embeddings.parquet"])
def test_embeddings_of_version_0_1_open(name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    file = read_embeddings(OLD / name)
    assert file.embeddings.names == tuple("abcdef")
    assert file.embeddings.pids.tolist() == [1, 2, 1, 2, 0, -1]
    assert file.embeddings.features[0, 0] == np.float32(np.random.default_rng(0).normal())
    assert file.fingerprint == "ffffffff"
    assert file.times is not None
    assert file.times[0].tolist() == [0, 1]


def test_a_checkpoint_of_version_0_1_opens():
    checkpoint = verify(OLD / "checkpoint.safetensors")
    assert (checkpoint.pids, checkpoint.step) == ((4, 7), 20)
    assert checkpoint == read_checkpoint(OLD / "checkpoint.safetensors")
    assert load_model(checkpoint, device=torch.device("cpu")).num_classes == 2
