"""What `intraclip link` writes: a table of people, and labels that `train` reads."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from intraclip.core.files import whole_file
from intraclip.data.readers.folder import COLUMNS
from intraclip.errors import DataError
from intraclip.link.people import People
from intraclip.types import Tracklet

PEOPLE_COLUMNS = ("tracklet", "person", "camera", "start_s", "end_s", "probability", "distance")


def people_rows(people: People) -> list[dict[str, Any]]:
    """A row a tracklet, by person and time; None where a value is unknown."""
    rows = []
    for person in range(1, people.count + 1):
        for row in people.members(person).tolist():
            times = people.evidence.times
            start, end = (math.nan, math.nan) if times is None else times[row].tolist()
            rows.append(
                {
                    "tracklet": people.names[row],
                    "person": person,
                    "camera": int(people.evidence.camids[row]),
                    "start_s": _known(start, 3),
                    "end_s": _known(end, 3),
                    "probability": _known(float(people.probability[row]), 4),
                    "distance": _known(float(people.distance[row]), 6),
                }
            )
    return rows


def write_people(path: Path, people: People) -> None:
    """Write `people_rows` as CSV; unknown values are empty, and a name that begins as a formula gets an apostrophe.

    Raises:
        OutputError: the file is there already, or cannot be written.
    """
    rows = [{**row, "tracklet": _no_formula(row["tracklet"])} for row in people_rows(people)]
    _write_csv(path, PEOPLE_COLUMNS, rows)


def _no_formula(name: str) -> str:
    """A name as spreadsheets take it for text: what begins as a formula would be carried out when it is opened."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else name


def write_labels(
    path: Path,
    people: People,
    tracklets: Iterable[Tracklet],
    manifest: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[int, int]:
    """Write a manifest of the data folder with people as pids: `intraclip.data.readers.folder` says what is in it.

    People seen by two cameras or more become training people; the others teach nothing across cameras and stay in the
    gallery, without a pid.

    Args:
        path: the manifest; to train, put it into the data folder as ``tracklets.csv``.
        people: of `link`.
        tracklets: of the data folder; those that were not linked are left out.
        manifest: rows of the folder's present manifest, by tracklet. Its other columns are kept, such as video,
            start_s and end_s of `intraclip ingest`: without them the labelled folder would have no times.

    Returns:
        Number of training people and of their tracklets.

    Raises:
        DataError: a tracklet has no folder of its own, so that no manifest can name it.
        OutputError: the file is there already, or cannot be written.
    """
    person_of = dict(zip(people.names, people.person.tolist(), strict=True))
    taught = {p for p in range(1, people.count + 1) if len(people.cameras(p)) > 1}
    manifest = manifest or {}
    kept = tuple(dict.fromkeys(c for row in manifest.values() for c in row if c not in COLUMNS))
    rows: list[dict[str, Any]] = []
    owner: dict[str, str] = {}
    for tracklet in tracklets:
        person = person_of.get(tracklet.name)
        if person is None:
            continue
        folders = {str(PurePosixPath(frame).parent) for frame in tracklet.frames}
        folder = folders.pop()
        if folders or owner.setdefault(folder, tracklet.name) != tracklet.name:
            raise DataError(
                f"tracklet {tracklet.name} has no folder of its own in {tracklet.root}, so no manifest can name it; "
                "labels can be written for data in intraclip's own layout alone"
            )
        known = person in taught
        rows.append(
            {
                **{column: manifest.get(tracklet.name, {}).get(column) for column in kept},
                "tracklet": tracklet.name,
                "folder": folder,
                "pid": person if known else None,
                "camid": tracklet.camid,
                "subset": "train" if known else "gallery",
            }
        )
    _write_csv(path, (*COLUMNS, *kept), rows)
    return len(taught), sum(row["pid"] is not None for row in rows)


def _known(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    with whole_file(path, replace=False) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)  # None becomes an empty field
