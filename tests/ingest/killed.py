"""Real processes that ingest, and are killed."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.connection import Connection
from pathlib import Path

from intraclip.ingest import IngestConfig, ingest

CONFIG = IngestConfig(
    quality="full", min_height=40, min_width=16, min_frames=5, margin=0.0, camera_motion=False
)


def work(folder: Path, out: Path, pipe: Connection) -> None:
    """Ingest the videos of a folder, and report after every frame."""
    videos = sorted(folder.glob("*.avi"))
    ingest(
        videos,
        detector=folder / "red.onnx",
        out=out,
        settings=CONFIG,
        resume=True,
        progress=lambda done, _total: pipe.send(done),
    )
    pipe.send("finished")


def kill_at_random_moments(folder: Path, out: Path, *, kills: int, seed: int) -> list[str]:
    """Start as many processes, one after the other, on the same output, and kill each; returns when they died."""
    rng = random.Random(seed)
    # The server imports the heavy libraries once and forks a fresh process each time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["intraclip.ingest.pipeline", "onnxruntime", "trackers", "supervision"])
    moments = []
    for _ in range(kills):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(folder, out, there))
        process.start()
        there.close()
        last = "start"
        reports = rng.randrange(1, 80)
        for _ in range(reports):
            try:
                last = here.recv()
            except EOFError:
                break
        time.sleep(rng.random() * 0.01)
        process.kill()
        process.join()
        here.close()
        moments.append(f"{last}, report {reports}, exit code {process.exitcode}")
    return moments
