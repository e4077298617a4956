"""The script that makes the shipped network, at toy size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch

from intraclip.config import ModelConfig, Recipe
from intraclip.embed.extract import load_run
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def make_base():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        import make_base

        patch.setattr(make_base, "HEIGHT", 64)
        patch.setattr(make_base, "WIDTH", 32)
        yield make_base


@pytest.fixture(scope="module")
def people(make_base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    with pytest.MonkeyPatch.context() as patch:
        run(make_base, patch, "render", "--folder", folder, "--sets", 2, "--people", 4, "--workers", 1)
    return folder


def run(make_base, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["make_base.py", *map(str, words)])
    make_base.main()


def train(make_base, monkeypatch: pytest.MonkeyPatch, folder: Path, out: Path) -> None:
    size = ("--identities", 3, "--clips", 2, "--length", 2, "--steps", 5, "--save-every", 2)
    network = ("--backbone", "small", "--weights", "", "--freeze", 1)
    run(make_base, monkeypatch, "train", "--folder", folder, "--out", out, *size, *network)


def test_a_stopped_training_goes_on_to_the_same_weights_and_the_people_are_left_out(
    make_base, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert sorted(p.name for p in people.iterdir()) == ["set0", "set1"]
    train(make_base, monkeypatch, people, tmp_path / "whole.safetensors")

    calls = []

    def stopped(*args: object, **more: object):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return apply(*args, **more)

    apply = make_base.apply
    monkeypatch.setattr(make_base, "apply", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(make_base, monkeypatch, people, tmp_path / "parts.safetensors")
    monkeypatch.setattr(make_base, "apply", apply)
    train(make_base, monkeypatch, people, tmp_path / "parts.safetensors")

    whole, parts = (safetensors.torch.load_file(tmp_path / f"{n}.safetensors") for n in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    model, recipe = load_run(tmp_path / "whole.safetensors", device="cpu")
    assert (model.num_classes, recipe.model.head, recipe.model.standardise) == (1, "stripes", True)
    assert not list(tmp_path.glob("*.resume"))


def test_two_trainings_are_mixed_by_their_shares(make_base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = Recipe(model=ModelConfig(backbone="small", weights="", head="tap"))
    files = [tmp_path / f"{seed}.safetensors" for seed in (0, 1)]
    for seed, file in enumerate(files):
        model = build_embedder(recipe.model, recipe.input, num_classes=1, seed=seed).half()
        save_checkpoint(file, model, recipe=recipe, pids=[0], epoch=1, step=seed)
    out = tmp_path / "mixed.safetensors"
    run(make_base, monkeypatch, "mix", *files, "--share", 0.25, "--out", out)
    first, second, mixed = (
        safetensors.torch.load_file(f)["model.backbone.blocks.0.0.weight"].float() for f in (*files, out)
    )
    torch.testing.assert_close(mixed, 0.75 * first + 0.25 * second, rtol=2e-3, atol=1e-4)


def test_what_is_rendered_is_not_rendered_again(make_base, people: Path, monkeypatch: pytest.MonkeyPatch):
    before = {p: p.stat().st_mtime_ns for p in people.rglob("*.npy")}
    run(make_base, monkeypatch, "render", "--folder", people, "--sets", 2, "--people", 4, "--workers", 1)
    assert before == {p: p.stat().st_mtime_ns for p in people.rglob("*.npy")}


def test_sets_share_no_people_and_a_person_is_seen_by_several_cameras(make_base, people: Path):
    found = make_base.load_people(make_base.sets_in(people), torch.device("cpu"))
    assert len(found.tracklets) == 8
    assert all(len(cameras) == make_base.VISITS for cameras in found.tracklets)
    rows = [
        row for cameras in found.tracklets for parts in cameras.values() for part in parts for row in part
    ]
    assert sorted(rows) == list(range(len(found.frames)))


def test_people_that_are_rendered_meanwhile_come_behind_those_that_are_known(make_base, people: Path):
    first, second = make_base.sets_in(people)
    cpu = torch.device("cpu")
    known = make_base.load_people([first], cpu)
    grown, whole = (
        make_base.load_people([second], cpu, known=known),
        make_base.load_people([first, second], cpu),
    )
    assert torch.equal(grown.frames, whole.frames)
    sampler = make_base.Sampler(known, 0)
    assert set(sampler(4, 2, 1)[1]) == {0, 1, 2, 3}
    sampler.add(grown)
    seen = {}
    for _ in range(20):
        rows, labels = sampler(4, 2, 1)
        for row, label in zip(rows, labels, strict=True):
            seen.setdefault(int(label), set()).add(int(row))
    for label, rows in seen.items():
        assert rows <= {int(r) for parts in whole.tracklets[label].values() for part in parts for r in part}
    assert set(seen) == set(range(8))


def test_clips_of_a_person_come_from_as_many_cameras_as_there_are(make_base):
    tracklets = [{1: [np.arange(3), np.arange(3, 4)], 2: [np.arange(4, 9)]}, {5: [np.arange(9, 11)]}]
    found = make_base.People(torch.zeros(11, 1), tracklets)
    sampler = make_base.Sampler(found, 0)
    tracklet = np.repeat([0, 1, 2, 3], [3, 1, 5, 2])
    last = set()
    for _ in range(30):
        rows, labels = sampler(2, 3, 2)
        drawn = {int(label): tracklet[rows.reshape(2, 3, 2)[n]] for n, label in enumerate(labels[::3])}
        assert (drawn[0][:, 0] == drawn[0][:, 1]).all()
        order = drawn[0][:, 0].tolist()
        assert sorted(order) == [0, 1, 2]  # every tracklet once, and both cameras before one comes again
        assert 2 in order[:2]
        last.add(order[2])
        assert (drawn[1] == 3).all()
        clip = rows.reshape(2, 3, 2)[list(labels[::3]).index(1)]
        assert (clip == [9, 10]).all()  # no frame twice where there are enough
    assert last == {0, 1}


@pytest.mark.slow
def test_the_ladder_renders_trains_and_scores_each_row_once(
    make_base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pictures = [cv2.imencode(".jpg", np.full((128, 48, 3), 40 * n, np.uint8))[1] for n in range(4)]
    offsets = np.cumsum([0, *map(len, pictures)])
    held = {"data": np.concatenate(pictures), "offsets": offsets, "a": np.array([True, False] * 2)}
    np.savez(tmp_path / "pairs.npz", **held)
    rows = {"plain": (("cameras", "light"), {"freeze": 1, "erase": 0.5}), "taught": ((), {"teacher": True})}
    monkeypatch.setattr(make_base, "LADDER", rows)
    # The training is a process of its own, which does not know of the toy size.
    monkeypatch.setattr(make_base, "HEIGHT", 192)
    monkeypatch.setattr(make_base, "WIDTH", 96)
    out, data = tmp_path / "ladder.json", tmp_path / "data"
    size = ("--steps", 2, "--identities", 2, "--seeds", 0, "--sets", 1, "--people", 2, "--workers", 1)
    words = ("ladder", "--folder", data, "--out", out, "--viper", tmp_path / "pairs.npz", *size)
    words += ("--backbone", "small", "--weights", "")
    run(make_base, monkeypatch, *words)
    (row,) = json.loads(out.read_text())  # the other one wants a teacher
    assert (row["row"], row["seed"], row["steps"], row["settings"]["erase"]) == ("plain", 0, 2, 0.5)
    assert 0 <= row["viper"] <= 100
    assert [p.name for p in data.iterdir()] == ["without-cameras-light"]
    assert f"| plain | {row['viper']:.1f} | 2 |" in capsys.readouterr().out
    run(make_base, monkeypatch, *words)
    assert json.loads(out.read_text()) == [row]
