"""Adaptations that ask: what the answers change, and what a stop between two of them loses, which is nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import intraclip as ic
from intraclip.adapt.adapting import Adapted, adapt
from intraclip.adapt.asking import Asked
from intraclip.cli.main import main
from intraclip.errors import ConfigError, DataError
from intraclip.gallery.answers import Answer, read_answers
from intraclip.gallery.gallery import open_gallery
from intraclip.models.checkpoint import tensors_of
from intraclip.train.loop import Silent
from intraclip.train.stopping import RunStopped

ROUND = {"rounds": 1, "epochs": 1, "device": "cpu"}


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def person_of(name: str) -> str:
    return name.rpartition("_t")[2]


def oracle(asked: Asked) -> str:
    return "same" if person_of(asked.query.name) == person_of(asked.tracklet.name) else "different"


class Quits:
    """Answers so many questions, then wants to stop."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, asked: Asked) -> str:
        if not self.left:
            raise RunStopped("enough for today", 130)
        self.left -= 1
        return oracle(asked)


@pytest.fixture(scope="module")
def asked(site: Path, network: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Adapted, Told]:
    told = Told()
    run = tmp_path_factory.mktemp("asked") / "run"
    return adapt(network, data=site, out=run, ask=8, responder=oracle, by="Kim", watcher=told, **ROUND), told


def groups(run: Path) -> dict[str, str]:
    with (run / "rounds/1/clusters.csv").open() as stream:
        return {row["tracklet"]: row["person"] for row in csv.DictReader(stream)}


def test_groups_are_as_was_said(asked: tuple[Adapted, Told]):
    found, told = asked
    person, answers = groups(found.run), read_answers(found.run / "answers.csv")
    assert found.answered == len(answers) == 8
    for a in answers:
        assert (person[a.query] == person[a.tracklet] != "0") == (a.answer == "same")
        assert a.by == "Kim"
    same, different = found.settled
    assert same + different >= 8
    assert f"by what people said, {same:,} pairs are one person, and {different:,} more are two" in told.lines


def test_nothing_that_is_held_out_is_asked_about(asked: tuple[Adapted, Told]):
    found, _ = asked
    held = {found.footage.tracklets[row].name for row in found.held}
    assert not any({a.query, a.tracklet} & held for a in read_answers(found.run / "answers.csv"))


def test_stopped_between_two_answers_and_resumed_gives_the_same(
    asked: tuple[Adapted, Told],
    site: Path,
    network: Path,
    tmp_path: Path,
):
    run = tmp_path / "run"
    for after in (3, 2):
        with pytest.raises(RunStopped):
            adapt(network, data=site, out=run, ask=8, responder=Quits(after), resume=after == 2, **ROUND)
    assert len((run / "answers.csv").read_text().splitlines()) == 1 + 3 + 2
    again = adapt(network, data=site, out=run, ask=8, responder=Quits(3), resume=True, by="Kim", **ROUND)
    before, _ = asked
    assert again.to_json_dict() | {"run": ""} == before.to_json_dict() | {"run": ""}
    assert again.clusters.person.tolist() == before.clusters.person.tolist()
    mine, theirs = (
        tensors_of(r.run / "rounds/1/training/model.safetensors", "model") for r in (again, before)
    )
    assert all(np.array_equal(mine[name].numpy(), theirs[name].numpy()) for name in theirs)


def test_what_is_said_after_learning_began_is_for_the_next_adaptation(
    asked: tuple[Adapted, Told],
    site: Path,
    network: Path,
    tmp_path: Path,
):
    before, _ = asked
    file = tmp_path / "more.csv"
    names = [t.name for row, t in enumerate(before.footage.tracklets) if row not in before.held]
    file.write_text(f"query,tracklet,judgement\n{names[0]},{names[-1]},same\n")
    again = adapt(network, data=site, out=before.run, resume=True, answers=file, **ROUND)
    assert again.settled == before.settled
    assert again.clusters.person.tolist() == before.clusters.person.tolist()


def test_answers_that_leave_nothing_to_learn_can_be_corrected(site: Path, network: Path, tmp_path: Path):
    names = [t.name for t in ic.read(site).gallery]
    one = [Answer(query=names[0], tracklet=name, answer="same") for name in names[1:]]
    with pytest.raises(DataError, match=r"make 1 people in 19 tracklets, 0 alone: .* or answers say so"):
        adapt(network, data=site, out=tmp_path / "run", answers=one, **ROUND)
    found = adapt(network, data=site, out=tmp_path / "run", answers=one[:1], resume=True, **ROUND)
    assert found.settled[0] <= 1


def test_answers_about_tracklets_that_are_not_there_are_refused(site: Path, network: Path, tmp_path: Path):
    file = tmp_path / "answers.csv"
    file.write_text("query,tracklet,judgement\ncam1_t0001,cam1_t0002,different\ncam1_t0001,cam9_t0001,same\n")
    with pytest.raises(
        DataError, match=r"answers\.csv, line 3: there is no tracklet 'cam9_t0001' among the 24 of "
    ):
        adapt(network, data=site, out=tmp_path / "run", answers=file, **ROUND)
    assert not (tmp_path / "run").exists()


def test_a_gallery_keeps_the_answers_and_the_next_adaptation_follows_them(
    site: Path,
    network: Path,
    tmp_path: Path,
):
    people = str(tmp_path / "people")
    assert main(["gallery", "add", people, "--data", str(site), "--model", str(network)]) == 0
    first = adapt(network, data=site, gallery=people, out=tmp_path / "a", ask=4, responder=oracle, **ROUND)
    with open_gallery(people) as gallery:
        judgements = gallery.judgements()
    assert len(judgements) == first.answered == 4
    second = adapt(network, data=people, out=tmp_path / "b", **ROUND)
    assert second.answered == 0
    person = groups(second.run)  # without those held out, others than in the first
    learned = [j for j in judgements if {j.query, j.tracklet} <= person.keys()]
    assert learned
    assert sum(second.settled) >= len(learned)
    assert all((person[j.query] == person[j.tracklet] != "0") == j.same for j in learned)


def test_the_command_follows_a_file_of_answers(
    asked: tuple[Adapted, Told],
    site: Path,
    network: Path,
    tmp_path: Path,
):
    words = ["adapt", str(network), "--data", str(site), "--out", str(tmp_path / "run"), "--rounds", "1"]
    answers = asked[0].run / "answers.csv"
    assert main([*words, "--epochs", "1", "--answers", str(answers)]) == 0
    assert groups(tmp_path / "run") == groups(asked[0].run)


def test_bad_input_is_one_sentence_and_leaves_nothing(
    site: Path,
    network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    run = tmp_path / "run"
    with pytest.raises(ConfigError, match="ask is -1"):
        adapt(network, data=site, out=run, ask=-1, responder=oracle, **ROUND)
    with pytest.raises(ConfigError, match="ask is 3: a number of questions, 0 for none, and a responder"):
        adapt(network, data=site, out=run, ask=3, **ROUND)
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        adapt(network, data=site, out=run, answers=tmp_path / "none.csv", **ROUND)
    with pytest.raises(DataError, match="is no gallery"):
        adapt(network, data=site, out=run, gallery=tmp_path / "none", **ROUND)
    words = ["adapt", str(network), "--data", str(site), "--out", str(run)]
    for count in ("0", "-3"):
        assert main([*words, "--ask", count]) == 2
        assert f"--ask {count}: at least one question is asked" in capsys.readouterr().err
    assert main([*words, "--ask", "5"]) == 2
    assert "--ask: standard input is no terminal" in capsys.readouterr().err
    assert not run.exists()
