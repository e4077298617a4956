"""What `intraclip link` writes: a table of people, labels that `train` reads, and what the next linking must know."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from intraclip.core.files import file_digest, write_json
from intraclip.core.folders import require_empty_folder
from intraclip.core.jobs import LOCK, alone
from intraclip.core.numbers import MAX_ID
from intraclip.core.replacing import READY, STAGED, replaced_together, settle
from intraclip.core.tables import read_table, write_csv
from intraclip.data.readers.folder import COLUMNS
from intraclip.errors import DataError, OutputError
from intraclip.gallery.records import check_name
from intraclip.link.changes import Before
from intraclip.link.people import People
from intraclip.types import Tracklet

PEOPLE, LABELS, LINKING, TRAVEL = "people.csv", "tracklets.csv", "links.json", "travel.toml"
CORRECTED = {LABELS: "train --labels", TRAVEL: "link --travel"}
"""Files that a human may correct, and who reads them then."""
VERSION = 1
PEOPLE_COLUMNS = ("tracklet", "person", "name", "camera", "start_s", "end_s", "probability", "distance")


def people_rows(people: People) -> list[dict[str, Any]]:
    """A row a tracklet, by person and time; None where a value is unknown."""
    rows = []
    for person in people.numbers:
        for row in people.members(person).tolist():
            times = people.evidence.times
            start, end = (math.nan, math.nan) if times is None else times[row].tolist()
            rows.append(
                {
                    "tracklet": people.names[row],
                    "person": person,
                    "name": people.labels.get(person, ""),
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
    rows = [
        {**row, **{key: no_formula(row[key]) for key in ("tracklet", "name")}} for row in people_rows(people)
    ]
    write_csv(path, PEOPLE_COLUMNS, ([row[name] for name in PEOPLE_COLUMNS] for row in rows), replace=False)


def no_formula(name: str) -> str:
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
    taught = {p for p in people.numbers if len(people.cameras(p)) > 1}
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
    columns = (*COLUMNS, *kept)
    write_csv(path, columns, ([row[column] for column in columns] for row in rows), replace=False)
    return len(taught), sum(row["pid"] is not None for row in rows)


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """Write a linking into a new or empty folder, or in the place of the one that it holds, all at once.

    Nobody else can write there meanwhile. If the block fails, the earlier linking stays whole, and of a first one
    nothing.

    Yields:
        A folder for the new files; see `intraclip.core.replacing.replaced_together`.

    Raises:
        OutputError: something else is there, another process is at it, or it cannot be written.
    """
    existed = out.exists()
    if not (is_linking(out) or is_linking(out / READY)) and _others(out):
        require_empty_folder(out, remedy="choose another --out, or that of an earlier link")
    try:
        with alone(out, remove=True):
            settle(out)
            again = is_linking(out)
            with replaced_together(out, [LINKING, *files_of(out)]) as staged:
                yield staged
                if not again and (new := _others(out)):
                    raise OutputError(f"{out / new[0]} exists, it was made just now; choose another --out")
    finally:
        if not existed:
            with suppress(OSError):  # not empty: it is done
                out.rmdir()


def _others(out: Path) -> list[str]:
    """What a folder holds besides what this and killed processes make there on the way."""
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else [out.name] * out.exists()
    return [name for name in names if name not in (LOCK, STAGED, READY)]


def write_linking(folder: Path, people: People, files: Sequence[str]) -> None:
    """Write ``links.json``: what the next linking must know of this one.

    `files` are what else was written, by their paths in the folder; those that a human corrects are known by a digest.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(
        folder / LINKING,
        {
            "links_version": VERSION,
            "following": people.following,
            "people": dict(zip(people.names, people.person.tolist(), strict=True)),
            "labels": {str(p): name for p, name in sorted(people.labels.items())},
            "changes": None if people.changes is None else asdict(people.changes),
            "files": {name: file_digest(folder / name) if name in CORRECTED else "" for name in files},
        },
    )


def is_linking(folder: Path) -> bool:
    """Whether a folder holds a linking."""
    return (folder / LINKING).is_file()


def files_of(folder: Path) -> list[str]:
    """Files of the linking that a folder holds, besides ``links.json``; of none without one.

    Raises:
        DataError: the linking cannot be read.
        OutputError: a human corrected the labels or travel times since.
    """
    if not is_linking(folder):
        return []
    files: dict[str, str] = _linking(folder)["files"]
    for name, flag in CORRECTED.items():
        file = folder / name
        if files.get(name) and file.is_file() and file_digest(file) != files[name]:
            raise OutputError(
                f"{file} was changed since it was written, and another linking would replace it; move it elsewhere "
                f"(`intraclip {flag}` takes any place), then link again"
            )
    return list(files)


def read_linking(folder: Path) -> tuple[Before, dict[str, str]]:
    """The linking of a folder, and the names that a human typed into its ``people.csv`` since, by tracklet.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    if not is_linking(folder):
        raise DataError(f"{folder} holds no linking ({LINKING}); `intraclip link --out {folder}` writes one")
    known = _linking(folder)
    before = Before(
        person=known["people"],
        labels={int(number): name for number, name in known["labels"].items()},
        following=known["following"],
    )
    return before, _typed(folder / PEOPLE, before)


def _linking(folder: Path) -> dict[str, Any]:
    path = folder / LINKING
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["links_version"] != VERSION:
            raise DataError(f"{path} was written by another version of intraclip; choose another --out")
        checked = {
            "people": {str(name): _number(number) for name, number in known["people"].items()},
            "labels": {str(_number(number)): str(name) for number, name in known["labels"].items()},
            "following": _number(known["following"]),
            "files": {str(name): str(digest) for name, digest in known["files"].items()},
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error!r}; choose another --out, or remove its folder") from None
    return checked


def _number(value: Any) -> int:
    """The number of a person, or a ValueError."""
    number = int(value)
    if not 1 <= number <= MAX_ID:
        raise ValueError(f"{value} is no number of a person")
    return number


def _typed(path: Path, before: Before) -> dict[str, str]:
    """Names in a table that are not those it was written with; a name is taken away where no row of a person has it."""
    if not path.is_file():
        return {}
    rows = [row for _, row in read_table(path)]
    if rows and not {"tracklet", "name"} <= set(rows[0]):
        if "tracklet" in rows[0]:
            return {}  # of a version that had no names
        raise DataError(
            f"{path} has no columns tracklet and name, from which names are read; remove it to go on"
        )
    tracklets = {no_formula(name): name for name in before.person}
    found = {
        tracklets[row["tracklet"]]: without_apostrophe(row["name"]).strip()
        for row in rows
        if row["tracklet"] in tracklets
    }
    told: dict[int, set[str]] = {}
    for tracklet, name in found.items():
        check_name(name, what=f"{path}, tracklet {tracklet!r}: the name")
        told.setdefault(before.person[tracklet], set()).add(name)

    def is_new(person: int, name: str) -> bool:
        was = before.labels.get(person, "")
        return name != was if name else bool(was) and told[person] == {""}

    return {tracklet: name for tracklet, name in found.items() if is_new(before.person[tracklet], name)}


def without_apostrophe(text: str) -> str:
    """A text as it was before `no_formula`."""
    return text[1:] if text.startswith("'") and no_formula(text[1:]) == text else text


def _known(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
