"""Extraction to a file: killed and resumed, shared among processes, and what is refused."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import write_tracklet
from intraclip.config import ClipConfig, Recipe
from intraclip.core.devices import Arriving
from intraclip.core.distributed import ALONE, Ranks
from intraclip.data.readers import read_split
from intraclip.embed import extract_job
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.embed.extract import extractor_of
from intraclip.embed.extract_job import ExtractJob, extract_split, times_of
from intraclip.embed.extractors import ExtractSettings
from intraclip.errors import DataError, FrameError, OutputError
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint
from intraclip.types import Split
from plain_extraction import network, one_thread, opened

__all__ = ["one_thread"]

SETTINGS = ExtractSettings(clip=ClipConfig(), max_frames=16, workers=0)


@pytest.fixture
def split(tmp_path: Path) -> Split:
    tracklets = tuple(
        write_tracklet(tmp_path / "data", pid=pid, camid=camid, frames=2 + 3 * pid)
        for camid in (1, 2)
        for pid in range(1, 7)
    )
    return Split(
        dataset="folder", root=tmp_path / "data", train=(), query=tracklets[:6], gallery=tracklets[6:],
        protocol="cross-camera",
    )  # fmt: skip


def extract(split: Split, out: Path, *, head: str = "ica", settings: ExtractSettings = SETTINGS, **kwargs):
    return extract_split(extractor_of(network(head)), split, settings, out, **kwargs)


@pytest.mark.parametrize("name", ["e.npz", "e.parquet"])
def test_the_file_holds_what_embedding_the_split_gives(split, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    extracted = extract(split, tmp_path / name)
    recipe = Recipe(data=replace(Recipe().data, workers=0))
    expected = opened(network("ica"), recipe).embed(split)
    file = read_embeddings(tmp_path / name)
    assert np.abs(file.embeddings.features - expected.features).max() < 1e-5
    assert file.embeddings.names == expected.names
    assert np.array_equal(file.embeddings.pids, expected.pids)
    assert np.array_equal(file.embeddings.camids, expected.camids)
    assert np.array_equal(file.embeddings.is_query, expected.is_query)
    assert file.fingerprint == extracted.fingerprint == extractor_of(network("ica")).fingerprint(ClipConfig())
    assert file.metadata["encoder"] == "small (torch)"
    assert file.metadata["clip"]["test_sampling"] == "dense"
    assert file.times is None
    assert file.notes == ()
    assert not (tmp_path / f"{name}.parts").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
import pickle, torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from plain_extraction import network
from intraclip.embed.extract import extractor_of
from intraclip.embed.extract_job import extract_split
split, settings = pickle.loads(Path(sys.argv[2]).read_bytes())
extractor, out = extractor_of(network("ica")), Path(sys.argv[3])
start = extractor.encoder.start
def dying(frames):
    if len(list(Path(f"{out}.parts").glob("0*.npz"))) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return start(frames)
extractor.encoder.start = dying
extract_split(extractor, split, settings, out)
"""


def test_killed_and_resumed_it_gives_the_same_file(split, tmp_path):
    import pickle

    (tmp_path / "job").write_bytes(pickle.dumps((split, SETTINGS)))
    out, parts = tmp_path / "killed.npz", tmp_path / "killed.npz.parts"
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tests, str(tmp_path / "job"), str(out)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not out.exists()
    assert len(list(parts.glob("0*.npz"))) == 3
    with pytest.raises(OutputError, match="holds parts of an interrupted extraction; add --resume"):
        extract(split, out)
    (parts / "00001.npz").write_bytes(b"a disk that lied")  # what is damaged is made again
    calls: list[tuple[int, int]] = []
    extract(split, out, resume=True, progress=lambda *call: calls.append(call))
    extract(split, tmp_path / "whole.npz")
    assert out.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    frames = sum(map(len, split.test))
    assert 0 < calls[-1][1] < frames  # finished parts were not computed again
    assert not parts.exists()


def interrupt(split: Split, out: Path, **kwargs) -> None:
    """Leave some parts behind."""
    job = ExtractJob(extractor_of(network("ica")), split, SETTINGS, out)
    job.begin(**kwargs)
    job.run_parts([0, 2])


@pytest.mark.parametrize(
    ("head", "change", "message"),
    [
        ("tap", {}, r"model: \"[0-9a-f]{56}\.\.\. -> "),
        ("ica", {"clip": ClipConfig(num_frames=8)}, r".*; clip\.num_frames: \d+ -> 8"),
        ("ica", {"max_frames": 8}, "frames in a batch: 16 -> 8"),
    ],
)
def test_parts_of_another_model_or_settings_are_refused(split, tmp_path, head, change, message):
    out = tmp_path / "e.npz"
    interrupt(split, out)
    with pytest.raises(OutputError, match=f"e.npz.parts was begun with something else: {message}"):
        extract(split, out, head=head, settings=replace(SETTINGS, **change), resume=True)
    extract(split, out, head=head, settings=replace(SETTINGS, **change), force=True)
    assert out.exists()


def test_parts_of_other_data_are_refused(split, tmp_path):
    out = tmp_path / "e.npz"
    interrupt(split, out)
    shorter = replace(split.gallery[0], frames=split.gallery[0].frames[1:])
    with pytest.raises(OutputError, match="something else: data: "):
        extract(replace(split, gallery=(shorter, *split.gallery[1:])), out, resume=True)
    (tmp_path / "e.npz.parts/job.json").write_text("{")
    with pytest.raises(OutputError, match=r"job.json is damaged: .*--force without --resume"):
        extract(split, out, resume=True)


def test_an_existing_file_is_kept_unless_force_is_said(split, tmp_path):
    out = tmp_path / "e.npz"
    extract(split, out)
    before = out.read_bytes()
    with pytest.raises(OutputError, match="exists; choose another --out, or add --force"):
        extract(split, out, head="tap")
    assert out.read_bytes() == before
    extract(split, out, head="tap", force=True)
    assert out.read_bytes() != before


def test_finished_parts_survive_an_error_and_wait_for_resume(split, tmp_path, monkeypatch):
    broken = split.gallery[4].frame_path(0)
    bytes_before = broken.read_bytes()
    broken.unlink()
    out = tmp_path / "e.npz"
    with pytest.raises(FrameError, match=str(broken)):
        extract(split, out)
    assert len(list((tmp_path / "e.npz.parts").glob("0*.npz"))) > 3
    broken.write_bytes(bytes_before)
    extract(split, out, resume=True)
    assert len(read_embeddings(out).embeddings) == 12


def test_skipped_failures_are_listed_and_the_rest_is_kept(split, tmp_path):
    lost, holed = split.query[1], split.gallery[0]
    for i in range(len(lost)):
        lost.frame_path(i).unlink()
    holed.frame_path(2).write_bytes(b"")
    out = tmp_path / "e.npz"
    extracted = extract(split, out, settings=replace(SETTINGS, skip=True))
    assert extracted.tracklets == 11
    assert len(extracted.failures) == 1
    assert f"no frame of tracklet {lost.name}" in extracted.failures[0]
    assert len(extracted.unreadable) == len(lost) + 1
    file = read_embeddings(out)
    assert file.embeddings.names == tuple(t.name for t in split.test if t is not lost)
    assert int(file.embeddings.is_query.sum()) == 5
    assert file.metadata["failures"] == list(extracted.failures)


def test_embeddings_that_are_not_finite_stop_at_the_end_or_are_left_out(split, tmp_path):
    extractor = extractor_of(network("ica"))
    start = extractor.encoder.start

    def spoiled(frames):
        vectors = start(frames).read().clone()
        vectors[:, 0] = torch.where(frames.float().mean(dim=(1, 2, 3)) > 126, torch.nan, vectors[:, 0])
        return Arriving(vectors)

    extractor.encoder.start = spoiled
    out = tmp_path / "e.npz"
    with pytest.raises(
        DataError, match=r"of 12 tracklets cannot be embedded: .*not finite.*--on-unreadable skip"
    ):
        extract_split(extractor, split, SETTINGS, out)
    assert not out.exists()
    extracted = extract_split(extractor, split, replace(SETTINGS, skip=True), out, resume=True)
    assert extracted is not None
    assert 0 < extracted.tracklets < 12
    assert extracted.tracklets + len(extracted.failures) == 12
    assert len(read_embeddings(out).embeddings) == extracted.tracklets


def test_a_network_that_gives_nothing_but_nan_writes_no_file(split, tmp_path):
    model = network("tap")
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="12 of 12 tracklets cannot be embedded"):
        extract_split(extractor_of(model), split, replace(SETTINGS, skip=True), tmp_path / "e.npz")
    assert not (tmp_path / "e.npz").exists()


def test_nothing_to_embed_and_other_names_are_refused(split, tmp_path):
    with pytest.raises(OutputError, match=r"written as \.npz or \.parquet"):
        extract(split, tmp_path / "e.csv")
    with pytest.raises(DataError, match="holds no test tracklets"):
        extract(replace(split, query=(), gallery=()), tmp_path / "e.npz")


def test_times_come_from_the_manifest_that_ingest_writes(split, tmp_path):
    with (split.root / "tracklets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["tracklet", "folder", "pid", "camid", "subset", "start_s", "end_s"])
        for i, t in enumerate(split.test):
            folder = f"tracks/{t.name}"
            (split.root / folder).mkdir(parents=True)
            for frame in t.frames:
                (split.root / folder / Path(frame).name).write_bytes((split.root / frame).read_bytes())
            writer.writerow([t.name, folder, t.pid, t.camid, "", i / 2, "" if i == 3 else i / 2 + 1.5])
    found = read_split(split.root)
    extract(found, tmp_path / "e.npz")
    file = read_embeddings(tmp_path / "e.npz")
    assert file.times is not None
    assert file.times[:, 0].tolist() == [i / 2 for i in range(12)]
    assert np.flatnonzero(np.isnan(file.times[:, 1])).tolist() == [3]
    assert file.times[5, 1] == 4.0
    text = (split.root / "tracklets.csv").read_text().replace("0.5,2.0", "soon,2.0")
    (split.root / "tracklets.csv").write_text(text)
    with pytest.raises(DataError, match="line 3: start_s 'soon'"):
        times_of(found)


@pytest.mark.parametrize("processes", [1, 3])
def test_processes_make_every_part_once(split, tmp_path, processes, monkeypatch):
    monkeypatch.setattr(extract_job, "PART_FRAMES", 20)
    job = ExtractJob(extractor_of(network("tap")), split, SETTINGS, tmp_path / "e.npz", processes=processes)
    job.begin()
    shares = [job.share(Ranks(rank=rank, size=processes)) for rank in range(processes)]
    assert sorted(n for share in shares for n in share) == list(range(len(job.parts)))
    job.run_parts(shares[0])
    assert sorted(job.share(ALONE)) == sorted(n for share in shares[1:] for n in share)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_two_gloo_processes_give_what_one_gives(tiny_split: Split, tiny_recipe: Recipe, tmp_path):
    model = build_embedder(tiny_recipe.model, tiny_recipe.input, num_classes=2, seed=0)
    recipe = replace(tiny_recipe, run=replace(tiny_recipe.run, test_batch_frames=8))
    save_checkpoint(tmp_path / "model.safetensors", model, recipe=recipe, pids=[1, 2], epoch=1, step=1)
    root = tmp_path / "data"
    for subset, tracklets in (("query", tiny_split.query), ("gallery", tiny_split.gallery)):
        for t in tracklets:
            folder = root / subset / str(t.pid) / str(t.camid) / t.name
            folder.mkdir(parents=True)
            for frame in t.frames:
                (folder / Path(frame).name).write_bytes((t.root / frame).read_bytes())
    world = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable, "-m", "intraclip", "extract", str(tmp_path), "--data", str(root), "--out",
        str(tmp_path / "two.npz"), "--json",
    ]  # fmt: skip
    both = [
        subprocess.Popen(
            command,
            env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert b'"tracklets": 12' in said[0][0]
    assert said[1][0] == b""  # one process talks
    split = read_split(root)
    file = read_embeddings(tmp_path / "two.npz")
    assert file.embeddings.names == tuple(t.name for t in split.test)
    expected = opened(model.eval(), recipe).embed(split).features
    assert np.abs(file.embeddings.features - expected).max() < 1e-5
