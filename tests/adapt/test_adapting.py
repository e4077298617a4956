"""Whole adaptations of a tiny network on tiny tracklets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import intraclip as ic
from intraclip.adapt.adapting import Adapted, adapt
from intraclip.adapt.guard import Guard
from intraclip.cli.main import main
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.link.travel import Travel, TravelTimes
from intraclip.models.checkpoint import tensors_of
from intraclip.train.loop import Silent
from intraclip.types import Split, Tracklet

ROUND = {"rounds": 1, "epochs": 2, "device": "cpu"}


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps = 0

    def message(self, text: str) -> None:
        self.lines.append(text)

    def step(self, **_: object) -> None:
        self.steps += 1


@pytest.fixture(scope="module")
def whole(site: Path, network: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Adapted, Said]:
    said = Said()
    return adapt(
        network, data=site, out=tmp_path_factory.mktemp("whole") / "run", watcher=said, **ROUND
    ), said


def test_it_says_what_it_found(whole: tuple[Adapted, Said]):
    found, said = whole
    assert any(
        "24 tracklets of 2 cameras, 5 held out; 2 pairs cannot be one person" in line for line in said.lines
    )
    assert f"round 1 of 1: {found.clusters.people} people in " in " ".join(said.lines)
    assert said.steps > 0
    assert found.impossible.sum() == 4
    told = json.loads((found.run / "result.json").read_text())
    assert told == found.to_json_dict()


def test_nothing_is_learned_from_those_held_out(whole: tuple[Adapted, Said]):
    found, _ = whole
    assert (found.clusters.person[found.held] == 0).all()
    rows = (found.run / "rounds/1/clusters.csv").read_text().splitlines()[1:]
    assert len(rows) == 24 - len(found.held)
    assert not {found.footage.tracklets[row].name for row in found.held} & {row.split(",")[0] for row in rows}


def test_the_run_opens_like_any_other(whole: tuple[Adapted, Said], site: Path):
    found, _ = whole
    e = ic.load(found.run).embed(ic.read(site))
    assert len(e) == 24


def test_killed_and_resumed_gives_the_same_groups_and_weights(
    whole: tuple[Adapted, Said], site: Path, network: Path, tmp_path: Path
):
    class Killed(Silent):
        def step(self, *, step: int, **_: object) -> None:
            if step == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt(network, data=site, out=tmp_path / "run", watcher=Killed(), **ROUND)
    with pytest.raises(OutputError, match="continue that adaptation with --resume"):
        adapt(network, data=site, out=tmp_path / "run", **ROUND)
    with pytest.raises(OutputError, match="seed: 0 -> 1"):
        adapt(network, data=site, out=tmp_path / "run", resume=True, seed=1, **ROUND)
    again = adapt(network, data=site, out=tmp_path / "run", resume=True, **ROUND)
    before, _ = whole
    assert again.clusters.person.tolist() == before.clusters.person.tolist()
    assert again.to_json_dict() | {"run": ""} == before.to_json_dict() | {"run": ""}
    mine, theirs = (tensors_of(r.run / "model.safetensors", "model") for r in (again, before))
    assert all(np.array_equal(mine[name].numpy(), theirs[name].numpy()) for name in theirs)
    trained = [tensors_of(r.run / "rounds/1/training/model.safetensors", "model") for r in (again, before)]
    assert all(np.array_equal(trained[0][name].numpy(), trained[1][name].numpy()) for name in trained[1])


def test_a_network_that_does_not_win_is_not_taken(
    site: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Guard, "better_than", lambda self, before: False)
    found = adapt(network, data=site, out=tmp_path / "run", **ROUND)
    assert not found.won
    assert "the old one is kept" in found.verdict
    assert ic.load(found.run).fingerprint == ic.load(network).fingerprint


def test_the_command_writes_a_page_and_prints_json(
    site: Path, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["adapt", str(network), "--data", str(site), "--out", str(tmp_path / "run"), "--rounds", "1"]
    assert main([*words, "--epochs", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["before"]) == {"find", "apart", "back", "mixed", "tracklets", "pairs"}
    page = (tmp_path / "run/report.html").read_text()
    assert "Before and after adaptation" in page
    assert page.count("<img") > 40
    assert "http" not in page


def only(split: Split, keep: int, **change: object) -> Split:
    chosen: tuple[Tracklet, ...] = tuple(replace(t, **change) for t in split.gallery[:keep])
    return replace(split, gallery=chosen)


def test_bad_input_is_one_sentence_and_leaves_nothing(site: Path, network: Path, tmp_path: Path):
    split, run = ic.read(site), tmp_path / "run"
    cases = [
        (only(split, 10), DataError, "holds 10 tracklets; at least 16 are needed"),
        (
            only(split, 24, camid=3),
            DataError,
            "are of camera 3; there is nothing to learn about people across cameras",
        ),
        (
            only(split, 24, frames=split.gallery[0].frames[:1]),
            DataError,
            r"0 of the 24 tracklets of .* have two frames or more; .* at least 3 are needed",
        ),
    ]
    for data, kind, message in cases:
        with pytest.raises(kind, match=message):
            adapt(network, data=data, out=run, **ROUND)
        assert not run.exists()
    alike = tuple(
        replace(t, frames=split.gallery[0].frames, root=split.gallery[0].root, name=f"same{i}")
        for i, t in enumerate(split.gallery)
    )
    with pytest.raises(DataError, match=r"the 24 tracklets of .* look all alike to .*, so there is"):
        adapt(network, data=replace(split, root=tmp_path, gallery=alike), out=run, **ROUND)
    assert not run.exists()
    (tmp_path / "net.xml").write_text("<net/>")
    with pytest.raises(ConfigError, match=r"net.xml cannot be adapted: only networks that intraclip trained"):
        adapt(tmp_path / "net.xml", data=site, out=run, **ROUND)
    with pytest.raises(ConfigError, match="rounds is 0"):
        adapt(network, data=site, out=run, rounds=0)


def test_travel_times_forbid_pairs_across_cameras(site: Path, network: Path, tmp_path: Path):
    ways = TravelTimes(travel={(1, 2): Travel(minimum_s=1.0)})
    found = adapt(network, data=site, out=tmp_path / "run", travel=ways, **ROUND)
    # Everybody is before both cameras at the same time, and so is the next one in the line.
    assert found.before.pairs > 2 + 12


def test_a_gallery_is_learned_from(site: Path, network: Path, tmp_path: Path):
    words = ["gallery", "add", str(tmp_path / "people"), "--data", str(site), "--model", str(network)]
    assert main(words) == 0
    found = adapt(network, data=tmp_path / "people", out=tmp_path / "run", **ROUND)
    assert len(found.footage) == 24
    assert found.before.pairs == 2
