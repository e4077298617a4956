"""Write a whole benchmark: frames, tables and ground truth."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from intraclip.core.files import write_json
from intraclip.core.folders import claim_folder
from intraclip.core.processes import process_count, processes
from intraclip.core.progress import Progress
from intraclip.core.tables import write_csv
from intraclip.data.silhouettes import silhouettes_file
from intraclip.errors import OutputError
from intraclip.studio.camera import draw_camera
from intraclip.studio.config import BenchmarkConfig, BenchmarkSummary
from intraclip.studio.identity import Identity, draw_identity
from intraclip.studio.layouts import plan_tracklets, write_tables
from intraclip.studio.tracklet import TrackletPlan, render_tracklet

RENDERER_VERSION = 1
"""Rises when the same seed gives other pictures."""

REMEDY = "choose another folder, or delete this one"
"""Where there is something in the folder already."""

STORED_QUALITY = 92
"""JPEG quality of the stored frames; the cameras' own compression is on top and usually stronger."""


def make_benchmark(
    out: Path,
    config: BenchmarkConfig,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> BenchmarkSummary:
    """Render a benchmark and write it.

    The same seed and settings give the same bytes on one machine and with one set of libraries, whatever the
    number of workers. `benchmark.json` is written last: a folder without it is not finished.

    Raises:
        OutputError: `out` is not empty.
        ConfigError: `workers` is below 1.
    """
    began = time.perf_counter()
    plans = plan_tracklets(config)
    count = process_count(workers, len(plans))
    total = sum(plan.frames for plan in plans)
    claim_folder(out, "ground_truth", remedy=REMEDY)
    try:
        for folder in {(out / file).parent for plan in plans for file in plan.files}:
            folder.mkdir(parents=True, exist_ok=True)
        (out / "ground_truth" / "silhouettes").mkdir()
    except OSError as error:
        raise OutputError(f"the benchmark cannot be written to {out}: {error}") from None

    digest = hashlib.sha256()
    done, rows = 0, []
    with processes(count, doing="renders") as pool:
        written_by = pool.map(partial(_work, root=out, config=config), plans)
        for plan, (data, row) in zip(plans, written_by, strict=True):
            digest.update(data)
            rows.append(row)
            done += plan.frames
            if progress is not None:
                progress(done, total)

    write_tables(out, config, plans)
    seed, difficulty = config.seed, config.difficulty
    write_truth(
        out / "ground_truth",
        {"tracklets.csv": rows},
        [draw_identity(seed, number, difficulty) for number in sorted({plan.identity for plan in plans})],
        [asdict(draw_camera(seed, number, difficulty)) for number in range(1, config.cameras + 1)],
    )
    summary = BenchmarkSummary(
        root=out,
        layout=config.layout,
        identities=config.identities,
        tracklets=len(plans),
        frames=total,
        queries=sum(plan.split == "query" for plan in plans),
        sha256=digest.hexdigest(),
        seconds=round(time.perf_counter() - began, 3),
    )
    write_summary(summary, renderer_version=RENDERER_VERSION, config=asdict(config))
    return summary


def write_summary(summary: BenchmarkSummary, **first: object) -> None:
    """Write `benchmark.json`, last of all: what was made, with what comes first in the file."""
    counts = ("tracklets", "frames", "queries", "sha256")
    write_json(
        summary.root / "benchmark.json", {**first, **{name: getattr(summary, name) for name in counts}}
    )


# -- one tracklet, in a worker -----------------------------------------------------------------------------


def _work(plan: TrackletPlan, *, root: Path, config: BenchmarkConfig) -> tuple[bytes, dict[str, object]]:
    """Write a tracklet; returns the bytes of its files, and its row in `tracklets.csv`."""
    rendered = render_tracklet(plan, config)
    files = []
    for file, frame in zip(plan.files, rendered.frames, strict=True):
        data = encode_frame(file, frame)
        (root / file).write_bytes(data)
        files.append(data)
    np.savez_compressed(
        silhouettes_file(root, plan.name),
        bits=np.packbits(rendered.silhouettes),
        shape=np.array(rendered.silhouettes.shape, dtype=np.int32),
    )
    return b"".join(files), {
        "name": plan.name,
        "pid": plan.pid,
        "identity": plan.identity,
        "camid": plan.camid,
        "split": plan.split,
        "frames": plan.frames,
        "view_angle": rendered.view_angle,
        "visible": round(float(rendered.silhouettes.mean()), 4),
        "nuisances": "; ".join(rendered.nuisances),
    }


def encode_frame(file: str, frame: npt.NDArray[np.uint8]) -> bytes:
    """Bytes of a file: JPEG or PNG, as its name says."""
    if file.endswith(".jpg"):
        return bytes(
            simplejpeg.encode_jpeg(frame, quality=STORED_QUALITY, colorspace="RGB", colorsubsampling="420")
        )
    # Low effort: these files are large either way, and rendering should not wait for them.
    packed = cv2.imencode(".png", frame[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    return packed.tobytes()


# -- ground truth ------------------------------------------------------------------------------------------


def write_truth(
    folder: Path,
    tables: Mapping[str, Sequence[Mapping[str, object]]],
    people: Iterable[Identity],
    cameras: Sequence[Mapping[str, object]],
    *,
    columns: Sequence[str] = (),
) -> None:
    """Write the ground truth of a set: tables by file name, people in words and numbers, and cameras.

    A table without rows has `columns`.
    """
    for name, rows in tables.items():
        names = list(rows[0]) if rows else columns
        write_csv(folder / name, names, ([row[column] for column in names] for row in rows))
    write_json(folder / "identities.json", [{"in_words": who.in_words(), **asdict(who)} for who in people])
    write_json(folder / "cameras.json", cameras)
