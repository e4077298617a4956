"""The diverse preset as a folder of frames, with its ground truth."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

from intraclip.core.folders import claim_folder
from intraclip.core.progress import Progress
from intraclip.errors import OutputError
from intraclip.studio.config import BenchmarkSummary, DiverseConfig
from intraclip.studio.diverse import Visit, by_camera, plan_visits, render_visit
from intraclip.studio.diverse_camera import draw_diverse_camera
from intraclip.studio.diverse_person import draw_diverse_identity
from intraclip.studio.make import REMEDY, encode_frame, write_summary, write_truth

DIVERSE_VERSION = 1
"""Rises when the same seed gives other pictures."""


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
    summary = BenchmarkSummary(
        root=out,
        layout="folder",
        identities=config.identities,
        tracklets=len(visits),
        frames=total,
        queries=config.test,
        sha256=digest.hexdigest(),
        seconds=round(time.perf_counter() - began, 3),
    )
    write_summary(
        summary,
        name="diverse",
        preset="diverse",
        renderer_version=DIVERSE_VERSION,
        config=asdict(config),
    )
    return summary


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
                data = encode_frame(file, frame)
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
