"""`intraclip extract` as a person types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import write_tracklet
from intraclip.cli.main import main
from intraclip.config import Recipe
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint
from plain_extraction import one_thread

__all__ = ["one_thread"]


@pytest.fixture
def workspace(tmp_path: Path, tiny_recipe: Recipe) -> Path:
    """A run with random weights, and a folder of twelve tracklets."""
    model = build_embedder(tiny_recipe.model, tiny_recipe.input, num_classes=2, seed=0)
    save_checkpoint(
        tmp_path / "run/model.safetensors", model, recipe=tiny_recipe, pids=[1, 2], epoch=1, step=1
    )
    for pid in range(1, 7):
        for camid, subset in ((1, "query"), (2, "gallery")):
            t = write_tracklet(tmp_path / "made", pid=pid, camid=camid, frames=3 + pid)
            folder = tmp_path / "data" / subset / str(pid) / str(camid) / t.name
            folder.mkdir(parents=True)
            for frame in t.frames:
                (tmp_path / "made" / frame).rename(folder / Path(frame).name)
    return tmp_path


def extract(root: Path, out: str, *flags: str) -> int:
    return main(
        ["extract", str(root / "run"), "--data", str(root / "data"), "--out", str(root / out), *flags]
    )


def error_of(capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert code == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err[err.index("error: ") :]


def test_the_file_can_be_scored_and_says_what_made_it(workspace, capsys):
    assert extract(workspace, "e.npz", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    file = read_embeddings(workspace / "e.npz")
    assert said["tracklets"] == 12
    assert said["queries"] == 6
    assert said["failures"] == said["unreadable"] == []
    assert said["fingerprint"] == file.fingerprint
    assert main(["score", str(workspace / "e.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_parquet_holds_the_same(workspace, capsys):
    pytest.importorskip("pyarrow")
    assert extract(workspace, "e.npz") == extract(workspace, "e.parquet") == 0
    assert "12 embeddings of size 32" in capsys.readouterr().err
    one, other = (read_embeddings(workspace / name) for name in ("e.npz", "e.parquet"))
    assert np.array_equal(one.embeddings.features, other.embeddings.features)
    assert one.embeddings.names == other.embeddings.names
    assert one.metadata == other.metadata
    assert main(["score", str(workspace / "e.parquet"), "--json"]) == 0


def test_flags_change_the_clips_and_the_fingerprint_but_batches_do_not(workspace):
    assert extract(workspace, "a.npz", "--sampling", "all") == 0
    assert extract(workspace, "b.npz", "--sampling", "all", "--batch-frames", "5", "--workers", "1") == 0
    assert extract(workspace, "c.npz", "--sampling", "even") == 0
    a, b, c = (read_embeddings(workspace / f"{name}.npz") for name in "abc")
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert np.abs(a.embeddings.features - b.embeddings.features).max() < 1e-5
    assert a.metadata["clip"]["test_sampling"] == "all"


def test_bad_input_gets_one_clear_error(workspace, capsys):
    assert "written as .npz or .parquet" in error_of(capsys, extract(workspace, "e.txt"))
    assert "--batch-frames 0" in error_of(capsys, extract(workspace, "e.npz", "--batch-frames", "0"))
    assert "--workers -1" in error_of(capsys, extract(workspace, "e.npz", "--workers", "-1"))
    assert "engine 'tensorrt' is not one of" in error_of(
        capsys, extract(workspace, "e.npz", "--engine", "tensorrt")
    )
    assert not list(workspace.glob("e.*"))


def test_an_unreadable_frame_stops_or_is_listed(workspace, capsys):
    broken = sorted((workspace / "data/gallery/4/2").rglob("*.jpg"))
    broken[0].write_bytes(b"")
    message = error_of(capsys, extract(workspace, "e.npz"))
    assert f"cannot read the frame {broken[0]}: the file is empty" in message
    # No part was finished: the corrected command needs neither --resume nor --force.
    assert extract(workspace, "e.npz", "--on-unreadable", "skip") == 0
    assert f"1 frames could not be read and were left out:\n  cannot read the frame {broken[0]}" in (
        capsys.readouterr().err
    )
    for path in broken:
        path.write_bytes(b"")
    assert extract(workspace, "f.npz", "--on-unreadable", "skip", "--json") == 0
    out, err = capsys.readouterr()
    assert "1 tracklets are missing from the file:\n  no frame of tracklet" in err
    assert json.loads(out)["tracklets"] == 11


def test_a_recipe_that_skips_needs_no_flag(workspace, tiny_recipe: Recipe):
    recipe = replace(tiny_recipe, data=replace(tiny_recipe.data, on_unreadable="skip"))
    model = build_embedder(recipe.model, recipe.input, num_classes=2, seed=0)
    save_checkpoint(workspace / "run/model.safetensors", model, recipe=recipe, pids=[1, 2], epoch=1, step=1)
    next((workspace / "data/query/1").rglob("*.jpg")).write_bytes(b"")
    assert extract(workspace, "e.npz") == 0
    assert read_embeddings(workspace / "e.npz").metadata["unreadable_frames"] == 1
