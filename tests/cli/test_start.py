"""What a command loads before it answers: a library that takes seconds to load is loaded by who uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from intraclip.cli.completion import tree
from intraclip.embed.embeddings_writer import save_embeddings
from intraclip.gallery.gallery import create_gallery
from intraclip.gallery.records import TrackletRecord
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.zoo import shipped_calibrations

HEAVY = ("torch", "scipy", "cv2", "PIL", "pandas", "pyarrow", "pydantic", "onnxruntime")

RUN = """
import contextlib, io, json, sys
from intraclip.cli.main import main
for command in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            code = main(command)
        except SystemExit as error:
            code = error.code
    if code:
        sys.exit(f"{command}: {said.getvalue()}")
    loaded = [name for name in sys.argv[1:] if name in sys.modules]
    if loaded:
        sys.exit(f"{command} loads {loaded}")
"""


def run(commands: list[list[str]], *absent: str) -> None:
    """Run commands one after the other in a fresh process, and fail with the first that loads what should be absent."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *absent],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def calibrated(folder: Path) -> str:
    """A gallery of 30 tracklets of the shipped network, with its calibration."""
    known = json.loads(next(iter(shipped_calibrations())))
    rng = np.random.default_rng(0)
    with create_gallery(
        folder / "people", fingerprint=known["fingerprint"], dimension=8, metric=known["metric"]
    ) as gallery:
        records = [TrackletRecord(id=f"t{i:02d}", camera=f"cam{i % 3}", camid=i % 3) for i in range(30)]
        vectors = rng.standard_normal((30, 8)).astype(np.float32)
        gallery.add(records, vectors, fingerprint=known["fingerprint"])
        assert gallery.calibration() is not None
    return str(folder / "people")


def test_no_help_loads_a_heavy_library():
    run([["--help"], *([*name.split(), "--help"] for name in tree())], *HEAVY, "numpy")


def test_a_gallery_is_searched_and_looked_at_without_a_heavy_library(tmp_path: Path):
    people = calibrated(tmp_path)
    run(
        [
            ["gallery", "search", people, "--tracklet", "t03"],
            ["gallery", "search", people, "--tracklet", "t03", "--false-match-rate", "0.01", "--json"],
            ["gallery", "list", people],
            ["gallery", "show", people, "t03"],
            ["gallery", "stats", people],
            ["gallery", "check", people],
            ["gallery", "delete", people, "--camera", "cam1", "--dry-run"],
            ["alerts", "watch", people, "--tracklet", "t03", "--name", "somebody"],
            ["alerts", "watched", people],
            ["alerts", "list", people],
            ["models", "list"],
            ["models", "list", "resnet50-imagenet"],
        ],
        *HEAVY,
    )


def test_what_is_embedded_already_is_scored_and_linked_without_torch(tmp_path: Path):
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(1, 11), 4)
    found = Embeddings(
        features=rng.standard_normal((40, 8)).astype(np.float32),
        pids=pids,
        camids=np.tile([1, 2], 20),
        is_query=np.tile([True, False, False, False], 10),
        names=tuple(f"t{i:02d}" for i in range(40)),
    )
    save_embeddings(tmp_path / "found.npz", found)
    people = calibrated(tmp_path)
    run(
        [
            ["score", str(tmp_path / "found.npz")],
            ["link", people, "--out", str(tmp_path / "linked")],
            ["link", str(tmp_path / "found.npz"), "--out", str(tmp_path / "linked-file")],
        ],
        "torch",
    )
