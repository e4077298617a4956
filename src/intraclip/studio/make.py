"""Write a whole set of tracklets, the benchmark or the diverse preset: frames, tables and ground truth."""

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
from intraclip.data.readers.common import BENCHMARK_FILE
from intraclip.data.silhouettes import silhouettes_file
from intraclip.errors import OutputError
from intraclip.studio.camera import draw_camera
from intraclip.studio.config import BenchmarkConfig, BenchmarkSummary, DiverseConfig
from intraclip.studio.diverse import Visit, by_camera, plan_visits, render_visit
from intraclip.studio.diverse_camera import draw_diverse_camera
from intraclip.studio.diverse_person import draw_diverse_identity
from intraclip.studio.identity import Identity, draw_identity
from intraclip.studio.layouts import plan_tracklets, write_tables
from intraclip.studio.tracklet import TrackletPlan, render_tracklet

RENDERER_VERSION, DIVERSE_VERSION = 1, 1
"""Each rises when the same seed gives other pictures."""

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
    return _finished(
        BenchmarkSummary(
            root=out,
            layout=config.layout,
            identities=config.identities,
            tracklets=len(plans),
            frames=total,
            queries=sum(plan.split == "query" for plan in plans),
            sha256=digest.hexdigest(),
            seconds=round(time.perf_counter() - began, 3),
        ),
        {"renderer_version": RENDERER_VERSION, "config": asdict(config)},
    )


def make_diverse(
    out: Path,
    config: DiverseConfig,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> BenchmarkSummary:
    """Render a diverse set and write it as a tree of folders, ``<train|query|gallery>/<pid>/<camid>/<tracklet>``.

    The last `config.test` people are in query (their first visit) and gallery (the others). `benchmark.json` is
    written last: a folder without it is not finished.
    """
    began = time.perf_counter()
    visits = plan_visits(config)
    claim_folder(out, "ground_truth", remedy=REMEDY)
    total, done = len(visits) * config.frames, 0
    written: dict[int, _Written] = {}
    for numbers, part in by_camera(visits, partial(_write_batch, root=out, config=config), workers):
        written.update(zip(numbers, part, strict=True))
        done += len(numbers) * config.frames
        if progress is not None:
            progress(done, total)
    in_order = [written[number] for number in range(len(visits))]
    digest = hashlib.sha256(b"".join(digest for digest, _ in in_order))
    write_truth(
        out / "ground_truth",
        {
            "tracklets.csv": [
                {
                    "name": _name(visit),
                    "pid": visit.pid,
                    "camid": visit.camid,
                    "split": _subset(visit, config),
                    "frames": config.frames,
                }
                for visit in visits
            ],
            "frames.csv": [row for _, rows in in_order for row in rows],
        },
        [draw_diverse_identity(config.seed, pid, config.diverse) for pid in range(1, config.identities + 1)],
        [
            asdict(draw_diverse_camera(config.seed, number, config.diverse))
            for number in sorted({visit.camid for visit in visits})
        ],
    )
    return _finished(
        BenchmarkSummary(
            root=out,
            layout="folder",
            identities=config.identities,
            tracklets=len(visits),
            frames=total,
            queries=config.test,
            sha256=digest.hexdigest(),
            seconds=round(time.perf_counter() - began, 3),
        ),
        {
            "name": "diverse",
            "preset": "diverse",
            "renderer_version": DIVERSE_VERSION,
            "config": asdict(config),
        },
    )


def _finished(summary: BenchmarkSummary, first: Mapping[str, object]) -> BenchmarkSummary:
    """Write `benchmark.json`, last of all: what was made, with what comes `first` in the file."""
    counts = ("tracklets", "frames", "queries", "sha256")
    write_json(summary.root / BENCHMARK_FILE, {**first, **{name: getattr(summary, name) for name in counts}})
    return summary


# -- one tracklet or visit, in a worker --------------------------------------------------------------------


def _work(plan: TrackletPlan, *, root: Path, config: BenchmarkConfig) -> tuple[bytes, dict[str, object]]:
    """Write a tracklet; returns the bytes of its files, and its row in `tracklets.csv`."""
    rendered = render_tracklet(plan, config)
    files = []
    for file, frame in zip(plan.files, rendered.frames, strict=True):
        data = _encoded(file, frame)
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


_Written = tuple[bytes, list[dict[str, object]]]
"""Digest of a visit's files, and its rows in `frames.csv`."""


def _name(visit: Visit) -> str:
    return f"{visit.pid:05d}C{visit.camid:04d}T{visit.index:02d}"


def _subset(visit: Visit, config: DiverseConfig) -> str:
    if visit.pid <= config.identities - config.test:
        return "train"
    return "query" if visit.index == 0 else "gallery"


def _write_batch(visits: list[Visit], *, root: Path, config: DiverseConfig) -> list[_Written]:
    found = []
    for visit in visits:
        rendered = render_visit(visit, config)
        name = _name(visit)
        folder = root / _subset(visit, config) / f"{visit.pid:05d}" / f"{visit.camid:04d}" / name
        digest = hashlib.sha256()
        rows: list[dict[str, object]] = []
        try:
            folder.mkdir(parents=True)
            for i, frame in enumerate(rendered.frames):
                file = f"{i + 1:03d}.jpg"
                data = _encoded(file, frame)
                (folder / file).write_bytes(data)
                digest.update(data)
                rows.append(
                    {
                        "tracklet": name,
                        "frame": i + 1,
                        "view_angle": round(float(rendered.angles[i]), 1),
                        "visible": round(float(rendered.visible[i]), 3),
                        "area": round(float(rendered.area[i]), 3),
                        "inside": round(float(rendered.inside[i]), 3),
                    }
                )
        except OSError as error:
            raise OutputError(f"the set cannot be written to {root}: {error}") from None
        found.append((digest.digest(), rows))
    return found


def _encoded(file: str, frame: npt.NDArray[np.uint8]) -> bytes:
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
