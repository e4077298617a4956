"""What is printed: names are text, and it fits the terminal."""

from __future__ import annotations

import csv
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from intraclip.cli.common import command, plain, print_table, progress_bar, progress_bars, say, score_table
from intraclip.cli.main import main
from intraclip.embed.embeddings_io import save_embeddings
from intraclip.metrics.embeddings import Embeddings

HOSTILE = [
    "=cmd|' /C calc'!A0",
    "[red]x[/]",
    "[/]",
    "a\x1b[2Jb",
    "é\u202egpj",
    "@SUM(1)",
    "-1+1",
    "+1",
    "<b>&amp;",
]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    names = tuple(HOSTILE + [f"cam2_{name}" for name in HOSTILE])
    half = len(HOSTILE)
    features = np.tile(np.eye(half, dtype=np.float32), (2, 1))
    save_embeddings(
        tmp_path / "e.npz",
        Embeddings(
            features=features,
            pids=np.tile(np.arange(1, half + 1), 2),
            camids=np.repeat([1, 2], half),
            is_query=np.repeat([True, False], half),
            names=names,
        ),
    )
    return tmp_path / "e.npz"


def test_hostile_names_are_text_everywhere(hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "who"
    assert main(["link", str(hostile), "--out", str(out), "--threshold", "0.1"]) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "[red]x[/]" in printed.out
    with (out / "people.csv").open(encoding="utf-8", newline="") as file:
        rows = [row["tracklet"] for row in csv.DictReader(file)]
    assert not [name for name in rows if name[0] in "=+-@"]
    assert "'=cmd|' /C calc'!A0" in rows
    page = (out / "people.html").read_text(encoding="utf-8")
    assert "<b>&amp;" not in page.replace("&lt;b&gt;&amp;amp;", "")
    assert main(["score", str(hostile), "--distance", "cosine"]) == 0
    capsys.readouterr()
    copied = tmp_path / "again.npz"
    with np.load(hostile) as arrays:
        np.savez(
            copied,
            **{key: arrays[key] for key in ("features", "pids", "camids", "is_query")},
            names=["same"] * 18,
        )
    assert main(["score", str(copied)]) == 2


def test_errors_move_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["score", str(tmp_path / "a\x1b[2J\r.npz")]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\r" not in err
    assert "\\x1b[2J\\x0d.npz" in err
    say(os.fsdecode(b"cam\xe9.avi"))
    assert "cam\\udce9.avi" in capsys.readouterr().err
    assert plain("two\nlines\tand a tab") == "two\nlines\tand a tab"


SCORES = {
    f"mars-{kind}": {
        **dict.fromkeys(("rank1", "rank5", "rank10", "rank20", "mAP", "mINP"), 0.5),
        "queries": 1980,
        "queries_without_match": 0,
        "gallery": 11310,
    }
    for kind in ("official", "full", "no-query")
}


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_no_cell_of_a_table_is_cut(monkeypatch, capsys: pytest.CaptureFixture[str], width: int):
    monkeypatch.setenv("COLUMNS", str(width))
    score_table(SCORES)
    print_table(
        ["same person when", "distance below", "false matches", "true matches, %"],
        [["false-match rate 0.0001", "4.6142", "11", "4.5 (too few pairs)"]],
    )
    print_table(["person", "cameras"], [["1: " + ", ".join(f"cam1_t{i:04d}" for i in range(30)), "1, 2"]])
    out = capsys.readouterr().out
    assert "…" not in out
    if width >= 60:
        assert max(map(len, out.splitlines())) <= width
    for word in ("mars-official", "rank-20", "no match", "11,310", "false matches", "4.5 (too few pairs)"):
        assert word in out


def test_a_bar_fits_eighty_columns(monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("training") as update:
        update(1850, 60000, "epoch 3  loss 2.345  acc 0.50  100 clips/s  data 3%  1.2 GiB")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert "…" not in text
    for part in (
        "training",
        "1850/60000",
        "-:--:--",
        "epoch 3  loss 2.345  acc 0.50  100 clips/s  data 3%  1.2 GiB",
    ):
        assert part in text
    assert max(map(len, re.split(r"[\r\n]", text))) <= 80


def test_a_bar_says_how_many_a_second():
    now = 0.0
    with progress_bars(["packing"], unit="frames") as update:
        update.get_time = lambda: now
        update("packing", 500, 2000)  # what was there before the first call took no time that is known
        assert len(list(update.get_renderables())) == 1
        now = 1.0
        update("packing", 800, 2000)
        now = 2.0
        update("packing", 1000, 2000)
        assert "250 frames/s" in str(list(update.get_renderables())[1])


@pytest.mark.skipif(sys.platform == "win32", reason="commands are quoted for a POSIX shell")
def test_commands_can_be_pasted():
    assert command("evaluate", Path("my runs/a"), "--data", "it's") == (
        "intraclip evaluate 'my runs/a' --data 'it'\"'\"'s'"
    )
