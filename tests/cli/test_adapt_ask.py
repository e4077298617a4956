"""Questions in a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intraclip.adapt.asking import Asked
from intraclip.cli.adapt import Terminal, caption
from intraclip.cli.common import progress_bars
from intraclip.data.in_memory import ArrayTracklet
from intraclip.train.stopping import RunStopped


@pytest.fixture
def asked() -> Asked:
    red, blue = (np.full((64, 32, 3), colour, dtype=np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    return Asked(
        number=1,
        of=20,
        query=ArrayTracklet.of([red] * 8, name="first"),
        tracklet=ArrayTracklet.of([blue] * 2, name="second"),
        times=np.array([[12.0, 15.5], [np.nan, np.nan]]),
        pairs=9,
    )


def answered(asked: Asked, folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return Terminal(folder, lambda: None, "people")(asked)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("y\n", "same"),
        ("NO\n", "different"),
        ("?\n", "unsure"),
        ("u\n", "undo"),
        ("l\n", "enough"),
        ("\n\nx\nyes\n", "same"),
    ],
)
def test_a_key_is_an_answer(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reply: str
):
    assert answered(asked, tmp_path / "questions", text, monkeypatch) == reply


@pytest.mark.parametrize("text", ["q\n", ""])
def test_who_quits_is_told_how_to_go_on(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
):
    with pytest.raises(RunStopped, match=r"after 0 of 20 questions.* kept in people: .* --resume") as stopped:
        answered(asked, tmp_path / "questions", text, monkeypatch)
    assert stopped.value.exit_code == 130


def test_the_picture_shows_both_and_goes_in_the_end(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "questions"
    answered(asked, folder, "y\n", monkeypatch)
    told = capsys.readouterr().err
    assert f"question 1 of 20: the same person? {folder}/001.jpg" in told
    assert "above: first, camera 0, 12.0 to 15.5 s" in told
    assert "below: second, camera 0\n" in told
    with Image.open(folder / "001.jpg") as image:
        picture = np.asarray(image).astype(int)
    assert picture.shape[0] == 2 * 192 + 8
    assert picture[96, 48, 0] > 150 > picture[96, 48, 2]
    assert picture[300, 48, 2] > 150 > picture[300, 48, 0]
    Terminal(folder, lambda: None, "people").remove_pictures()
    assert not folder.exists()


def test_times_of_a_clock_are_told_as_such(asked: Asked):
    assert ", 2026-" in caption(asked.query, np.array([1.795e9, 1.795e9]))


def test_bars_make_way_for_questions(capsys: pytest.CaptureFixture[str]):
    with progress_bars(["looking", "learning"]) as update:
        update("looking", 1, 2)
        update.hide()
        update("learning", 1, 2)
