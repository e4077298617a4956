"""Every script of benchmarks/ runs, at toy size: what it measures there says nothing, but it can measure."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.miniature import write_mars
from ingest.synthetic import BOX_HEIGHT, BOX_WIDTH, red_box_detector, two_walkers, write_video
from intraclip.config import ClipConfig, InputConfig, ModelConfig, Recipe
from intraclip.data.readers import read_split
from intraclip.embed.embeddings_writer import save_embeddings
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def packed(folder: Path) -> list[str]:
    data = write_mars(folder / "mars", train_pids=range(1, 17, 2), test_pids=(2, 4))
    return [str(data), "--rounds", "1", "--workers", "1", "--batches", "2"]


def linked(folder: Path) -> list[str]:
    data = write_mars(folder / "mars", test_pids=range(2, 242, 2), frames=1)
    split = read_split(data)
    pids = np.array([t.pid for t in split.test])
    rng = np.random.default_rng(0)
    people = rng.standard_normal((242, 8))
    found = Embeddings(
        features=(people[pids] + 0.3 * rng.standard_normal((len(pids), 8))).astype(np.float32),
        pids=pids,
        camids=np.array([t.camid for t in split.test]),
        is_query=np.ones(len(pids), dtype=np.bool_),
        names=tuple(t.name for t in split.test),
    )
    save_embeddings(folder / "found.npz", found)
    return [str(folder / "found.npz"), "--data", str(data), "--draws", "2", "--many", "300"]


def filmed(folder: Path) -> list[str]:
    """Two walkers before two cameras, their true boxes, a detector that finds them, and an untrained run."""
    (folder / "videos/ground_truth").mkdir(parents=True)
    for camid in (1, 2):
        write_video(folder / f"videos/cam{camid}.mp4", two_walkers, frames=18, codec="mp4v")
        lines = []
        for number in range(18):
            for x, y in two_walkers(number):
                box = f"{x - BOX_WIDTH // 2},{y - BOX_HEIGHT // 2},{BOX_WIDTH},{BOX_HEIGHT}"
                lines.append(f"{number + 1},{1 if y < 64 else 2},{box},1,1,1.0\n")
        (folder / f"videos/ground_truth/cam{camid}.txt").write_text("".join(lines))
    recipe = Recipe(
        device="cpu",
        input=InputConfig(height=32, width=16),
        clip=ClipConfig(num_frames=2),
        model=ModelConfig(backbone="small", head="tap", weights="", backbone_settings={"width": 0.25}),
    )
    model = build_embedder(recipe.model, recipe.input, num_classes=2, seed=0).eval()
    run = folder / "run"
    save_checkpoint(run / "model.safetensors", model, recipe=recipe, pids=[1, 2], epoch=1, step=1)
    flags = ["--run", str(run), "--min-height", "40", "--min-width", "16", "--out", str(folder / "out")]
    return [str(folder / "videos"), "--detector", str(red_box_detector(folder / "red.onnx")), *flags]


def across(folder: Path) -> list[str]:
    videos, _, _, _, run, *gates = filmed(folder)
    return [videos, "--model", run, *gates]


def watched(folder: Path) -> list[str]:
    """Two walkers before two cameras that loop, and a detector that finds them."""
    for camid in (1, 2):
        write_video(folder / f"cam{camid}.mp4", two_walkers, frames=18, codec="mp4v")
    clips = [str(folder / f"cam{camid}.mp4") for camid in (1, 2)]
    small = "--min-height 40 --min-width 16 --tiling off --look-seconds 0.1"
    rest = (
        f"--seconds 6 --settle 3 --cut 1 --speed 0 {small} --detector {red_box_detector(folder / 'red.onnx')}"
    )
    return ["watch", *clips, *rest.split()]


def ingested(folder: Path) -> list[str]:
    network = red_box_detector(folder / "red.onnx")
    video = write_video(folder / "cam1.avi", two_walkers, frames=12)
    gates = ["--min-height", "40", "--min-width", "16"]
    return [
        str(video),
        "--detector",
        str(network),
        "--out",
        str(folder / "out"),
        "--qualities",
        "full",
        "balanced",
        *gates,
    ]


def staged(folder: Path) -> list[str]:
    """One camera, all the way to answers; and the picture."""
    videos, _, detector, _, run, *rest = filmed(folder)
    return [
        f"{videos}/cam1.mp4",
        "--detector",
        detector,
        "--model",
        run,
        *rest,
        "--svg",
        str(folder / "a.svg"),
    ]


def flags(text: str) -> Callable[[Path], list[str]]:
    return lambda _: text.split()


TOYS: dict[str, Callable[[Path], list[str]]] = {
    "adapt.py": lambda folder: [
        *[
            "--sites",
            "diverse",
            "--people",
            "8",
            "--seeds",
            "0",
            "--rounds",
            "1",
            "--epochs",
            "1",
            "--folder",
        ],
        str(folder),
    ],
    "augment.py": flags("--rounds 1 --size 2 2 32 16"),
    "engines.py": flags("--backbone small --size 32 16 --batch 2 --rounds 1 --no-compile"),
    "extract.py": flags("--networks small --engines torch --frames 4 --rounds 1 --workers 1 --memory none"),
    "ingest.py": ingested,
    "gallery.py": flags("--sizes 1000 --queries 2"),
    "gpu.py": lambda folder: [*["--rehearse", "--parts", "ranking", "--out"], str(folder / "out")],
    "heads.py": flags("--features 16 --frames 2 --height 4 --width 2 --clips 2 --rounds 1"),
    "link.py": linked,
    "mtmc.py": across,
    "live.py": watched,
    "pack.py": packed,
    "process.py": flags("--rounds 1 --steps 1"),
    "ranking.py": flags("--rounds 1 --gallery 8062 --stream 20 200 16"),
    "start.py": flags("--rounds 1 --tracklets 20 --only search"),
    "serve.py": flags("--clients 2 --seconds 0.2 --tracklets 100 --size 16"),
    "stages.py": staged,
    "step.py": flags("--backbone small --identities 2 --frames 2 --rounds 1 --device cpu"),
    "video_to_answer.py": filmed,
}

LAST = {
    "adapt.py": "mAP: ",
    "link.py": "of processor time), peak memory",
    "live.py": "grows by",
    "serve.py": "errors 0; ",
    "stages.py": "a search takes",
    "video_to_answer.py": "answers of run",
}
"""What must be among the answers, besides that there are any."""


def test_every_benchmark_has_a_toy_size():
    assert sorted(path.name for path in BENCHMARKS.glob("*.py")) == sorted(TOYS)


@pytest.mark.parametrize("script", TOYS)
def test_a_benchmark_runs(script: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *TOYS[script](tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) > 1
    assert LAST.get(script, "") in done.stdout, done.stdout + done.stderr


def script(name: str):
    """A script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_cameras_a_core_are_told_without_the_start(tmp_path, monkeypatch, capsys):
    ingest = script("ingest")
    pinned = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: pinned.append(cores), raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    monkeypatch.setattr(
        ingest, "scaled", lambda _, size, fps, seconds, folder: folder / f"{size}-{fps}-{seconds:g}"
    )

    def run(quality, sources, videos, args, more):
        size, fps, seconds = videos[0].name.split("-")
        frames = int(fps) * int(seconds)
        told = {
            "tracklets": 4,
            "videos": [{"frames_used": frames, "frames": frames, "fps": 10, "tiled": False}],
        }
        return ingest.Run(wall=9.0, cpu=1.5 + frames * {"4x2": 0.02, "8x4": 0.05}[size], told=told)

    monkeypatch.setattr(ingest, "run", run)
    flags = ["--sizes", "4x2", "8x4", "--seconds", "9", "2", "--qualities", "fast", "--detector", "d.onnx"]
    monkeypatch.setattr(sys, "argv", ["ingest.py", "cam1.mp4", "--out", str(tmp_path), *flags])
    ingest.main()
    assert pinned == [{3}]
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| 4x2 | 5 | fast | 1.5 | 20.0 | 10.0 | 4 |",
        "| 4x2 | 10 | fast | 1.5 | 20.0 | 5.0 | 4 |",
        "| 8x4 | 5 | fast | 1.5 | 50.0 | 4.0 | 4 |",
        "| 8x4 | 10 | fast | 1.5 | 50.0 | 2.0 | 4 |",
    ]


@pytest.fixture(scope="module")
def stages():
    return script("stages")


SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_of_the_stages_shows_each_in_proportion(stages):
    seconds = {stage: 0.4 * (number + 1) for number, stage in enumerate(stages.STAGES)}
    profile = stages.Profile(seconds=seconds, frames=100, tracklets=3, size="640 x 360")
    picture = ET.fromstring(stages.draw(profile, "a processor & a day"))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert set(stages.STAGES.values()) <= set(texts)
    assert "a processor & a day" in texts
    assert "4.0 ms, 2 %" in texts
    assert "36.0 ms, 20 %" in texts
    assert "180.0 ms of one core a frame of 640 x 360" in texts
    bars = [r for r in picture.iter(f"{SVG}rect") if r.get("class") in ("finding", "answering")]
    widths = np.array([float(bar.get("width")) for bar in bars])
    assert widths / widths[0] == pytest.approx(np.arange(1, len(stages.STAGES) + 1), abs=0.1)
    # Nothing lies outside of the picture, whatever letters are as wide as they are here.
    _, _, width, height = map(float, picture.get("viewBox").split())
    for text in picture.iter(f"{SVG}text"):
        assert float(text.get("x")) + 7 * len(text.text) < width
        assert float(text.get("y")) < height


def test_the_picture_of_the_stages_is_drawn_of_videos_that_show_nobody(stages):
    nothing = stages.Profile(seconds=dict.fromkeys(stages.STAGES, 0.0), frames=1, tracklets=0, size="8 x 8")
    ET.fromstring(stages.draw(nothing, ""))


def test_the_picture_in_the_documentation_is_what_the_script_draws(stages):
    shown = (BENCHMARKS.parent / "docs/images/stages.svg").read_text()
    assert len(shown) < 30_000
    words = ET.fromstring(shown).find(f"{SVG}desc").text
    assert [re.sub(r" [0-9.]+ ms$", "", part) for part in words.split("; ")] == list(stages.STAGES.values())
    assert f"<style>{stages.STYLE}</style>" in shown
