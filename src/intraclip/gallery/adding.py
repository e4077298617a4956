"""From a folder of tracklets, or a file of embeddings, into a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.core.progress import Progress
from intraclip.core.tables import read_table
from intraclip.data.readers import read_split
from intraclip.data.readers.common import shorten
from intraclip.data.readers.manifest import manifest_of
from intraclip.embed.embeddings_io import EmbeddingsFile
from intraclip.embed.extractors import Extractor, ExtractSettings
from intraclip.errors import DataError
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.pictures import CROPS, pictures_of
from intraclip.gallery.records import Box, Pictures, TrackletRecord
from intraclip.types import Tracklet

BATCH = 64
"""Tracklets of a transaction while they are embedded: what a crash may cost."""

FILE_BATCH = 1_000
"""Of a file of embeddings, where nothing has to be computed again."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What tracklets are called in the gallery.

    Attributes:
        prefix: put in front of every id, so that two folders with the same names fit into one gallery.
        cameras: names of cameras by camid; others keep the manifest's name, or are called ``cam1`` and so on.
        started_at: wall clock of the start of the videos by the name of the video, Unix seconds; under "" for all.
        people: whether pids above 0 become person labels. They must be a human's word, not a network's guess.
    """

    prefix: str = ""
    cameras: Mapping[int, str] = field(default_factory=dict)
    started_at: Mapping[str, float] = field(default_factory=dict)
    people: bool = False

    def record(
        self,
        name: str,
        camid: int,
        pid: int,
        source: str,
        *,
        times: Sequence[float | None],
        camera: str | None = None,
        num_frames: int = 0,
        boxes: Sequence[Box] = (),
    ) -> TrackletRecord:
        """The record of a tracklet; `camera` is the data's name for it, `times` are seconds of first and last frame."""
        start = self.started_at.get(source, self.started_at.get(""))
        return TrackletRecord(
            id=self.prefix + name,
            camera=self.cameras.get(camid) or camera or f"cam{camid}",
            camid=camid,
            start_s=times[0],
            end_s=times[1],
            started_at=None if start is None else start + (times[0] or 0.0),
            num_frames=num_frames,
            source=source,
            boxes=tuple(boxes),
            person=str(pid) if self.people and pid > 0 else "",
        )


@dataclass(kw_only=True)
class AddSummary:
    """What became of a folder or a file.

    Attributes:
        failures: why tracklets have no usable embedding; they were left out.
        unreadable: messages about frames that were left out.
    """

    added: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def read_tracklets(
    root: Path, naming: Naming, *, layout: str = "auto", split: int = 0
) -> list[tuple[Tracklet, TrackletRecord]]:
    """The test tracklets of a data folder, as they will be called in a gallery.

    What `intraclip ingest` wrote beside the crops is taken along: times, the video, frame numbers and boxes.

    Raises:
        DataError: the folder cannot be read, holds nothing but training tracklets, or not a video that is dated.
    """
    found = read_split(root, layout=layout, split=split)
    if not found.test:
        raise DataError(f"{root} holds training tracklets only; a gallery takes those of query and gallery")
    details = manifest_of(root)
    boxes = _boxes(root)
    named = [
        (t, _record(t, details.get(t.name, {}), boxes.get(t.name, ()), root, naming)) for t in found.test
    ]
    sources = {record.source for _, record in named}
    if strangers := sorted(naming.started_at.keys() - sources - {""}):
        raise DataError(
            f"no tracklet of {root} is from {strangers[0]!r}, whose start is given; they are from "
            f"{shorten(sorted(sources))}"
        )
    return named


def add_tracklets(
    gallery: Gallery,
    tracklets: Sequence[tuple[Tracklet, TrackletRecord]],
    extractor: Extractor,
    settings: ExtractSettings,
    *,
    crops: int = CROPS,
    progress: Progress | None = None,
) -> AddSummary:
    """Embed tracklets and add them, a batch at a time; those that are there already are not embedded again.

    `crops` pictures are kept of each, see `pictures_of`; `progress` counts frames.

    Raises:
        DataError: another model's gallery, or an id that is there with other content.
    """
    fingerprint = extractor.fingerprint(settings.clip)
    gallery.require_fingerprint(fingerprint)
    present = gallery.present([record for _, record in tracklets])
    new = [pair for pair in tracklets if pair[1].id not in present]
    summary = AddSummary(skipped=len(tracklets) - len(new))
    waiting: list[tuple[TrackletRecord, npt.NDArray[np.float32], Pictures]] = []

    def flush() -> None:
        if waiting:
            records, vectors, pictures = zip(*waiting, strict=True)
            result = gallery.add(records, np.stack(vectors), fingerprint=fingerprint, pictures=pictures)
            summary.added += result.added
            summary.skipped += result.skipped
            waiting.clear()

    for finished in extractor.embed([t for t, _ in new], settings, progress=progress):
        tracklet, record = new[finished.row]
        summary.unreadable += finished.unreadable
        if finished.failure or finished.embedding is None:
            summary.failures.append(finished.failure)
            continue
        waiting.append((record, finished.embedding, pictures_of(tracklet, crops=crops)))
        if len(waiting) == BATCH:
            flush()
    flush()
    return summary


def add_embeddings(
    gallery: Gallery,
    file: EmbeddingsFile,
    naming: Naming,
    *,
    tracklets: Sequence[tuple[Tracklet, TrackletRecord]] = (),
    crops: int = CROPS,
    progress: Progress | None = None,
) -> AddSummary:
    """Add what `intraclip extract` wrote.

    With the tracklets of the data folder that the file was made of come `crops` pictures of each, and what else the
    folder knows. `progress` counts tracklets.

    Raises:
        DataError: another model's file, one without names, or tracklets that are not in the data folder.
    """
    gallery.require_fingerprint(file.fingerprint)
    embeddings = file.embeddings
    if not embeddings.names:
        raise DataError(f"{file.path} has no names; a gallery needs an id for every tracklet")
    known = {t.name: (t, record) for t, record in tracklets}
    missing = [name for name in embeddings.names if known and name not in known]
    if missing:
        raise DataError(
            f"{len(missing)} tracklets of {file.path} are not in the data folder, such as {missing[0]}; name the "
            "folder that they were extracted from"
        )
    records = [
        known[name][1] if known else _record_of_row(file, row, naming)
        for row, name in enumerate(embeddings.names)
    ]
    summary, size = AddSummary(), BATCH if known else FILE_BATCH
    for start in range(0, len(records), size):
        part = slice(start, start + size)
        there = gallery.find([r.id for r in records[part]]) if known else {}
        pictures = [
            Pictures() if not known or r.id in there else pictures_of(known[name][0], crops=crops)
            for name, r in zip(embeddings.names[part], records[part], strict=True)
        ]
        result = gallery.add(
            records[part], embeddings.features[part], fingerprint=file.fingerprint, pictures=pictures
        )
        summary.added += result.added
        summary.skipped += result.skipped
        if progress:
            progress(min(start + size, len(records)), len(records))
    return summary


# -- what a folder knows -----------------------------------------------------------------------------------


def _record(
    tracklet: Tracklet, row: Mapping[str, str], boxes: Sequence[Box], root: Path, naming: Naming
) -> TrackletRecord:
    return naming.record(
        tracklet.name,
        tracklet.camid,
        tracklet.pid,
        row.get("video") or root.resolve().name,
        times=[_seconds(row.get("start_s")), _seconds(row.get("end_s"))],
        camera=row.get("camera"),
        num_frames=len(tracklet),
        boxes=boxes,
    )


def _record_of_row(file: EmbeddingsFile, row: int, naming: Naming) -> TrackletRecord:
    e = file.embeddings
    times = [None, None] if file.times is None else [_seconds(t) for t in file.times[row]]
    return naming.record(e.names[row], int(e.camids[row]), int(e.pids[row]), file.path.name, times=times)


def _seconds(text: str | float | None) -> float | None:
    try:
        value = float("" if text is None else text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _boxes(root: Path) -> dict[str, list[Box]]:
    """Boxes by tracklet, from what `intraclip ingest` wrote into ``boxes/``."""
    columns = ("frame", "left", "top", "width", "height")
    found: dict[str, list[Box]] = {}
    for path in sorted((root / "boxes").glob("*.csv")):
        for line, row in read_table(path, ("tracklet", *columns)):
            try:
                box = Box(int(row["frame"]), *(float(row[name]) for name in columns[1:]))
            except ValueError:
                raise DataError(
                    f"{path}, line {line}: the columns {', '.join(columns)} hold no numbers in {row}; run "
                    "`intraclip ingest` again"
                ) from None
            found.setdefault(row["tracklet"], []).append(box)
    return found
