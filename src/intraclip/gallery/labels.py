"""What people said about the tracklets of a gallery: who is one person, what contradicts itself, and training data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.core.files import write_private
from intraclip.core.folders import claim_folder, require_empty_folder
from intraclip.core.tables import csv_text
from intraclip.data.frames import encoded_frame
from intraclip.data.readers.folder import COLUMNS, MANIFEST_CSV
from intraclip.errors import DataError, OutputError
from intraclip.gallery.answers import COLUMNS as JUDGED
from intraclip.gallery.answers import DIFFERENT, SAME
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.records import Judgement
from intraclip.types import Tracklet

JUDGEMENTS_CSV = "judgements.csv"

SHOWN = 3
"""Contradictions that a note tells in full."""


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What was written.

    Attributes:
        conflicts: groups that were left out because what was said contradicts itself, in sentences.
        without_pictures: ids of tracklets that were left out because there are no pictures of them.
    """

    people: int
    tracklets: int
    frames: int
    conflicts: tuple[str, ...]
    without_pictures: tuple[str, ...]


def people_of(
    labels: Mapping[str, str], judgements: Iterable[Judgement]
) -> tuple[list[list[str]], list[str]]:
    """Groups of tracklet ids that are one person each, and the contradictions.

    Tracklets are one person when they carry the same label, or were confirmed, also by way of others. A group with two
    labels, or with a rejected pair inside, contradicts itself.

    Args:
        labels: by id, empty where there is none; those without label and judgement belong to no group.
        judgements: about these tracklets.

    Returns:
        Groups in order of their first ids, and a sentence for every contradictory one, which is left out.
    """
    judgements = list(judgements)
    parent = {i: i for i, label in labels.items() if label}
    parent |= {i: i for j in judgements if j.same for i in (j.query, j.tracklet) if i in labels}

    def find(i: str) -> str:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[str, str] = {}
    for i in sorted(parent):
        if person := labels[i]:
            parent[find(i)] = find(first.setdefault(person, i))
    for j in judgements:
        if j.same and j.query in parent and j.tracklet in parent:
            parent[find(j.query)] = find(j.tracklet)
    groups: dict[str, list[str]] = defaultdict(list)
    for i in sorted(parent):
        groups[find(i)].append(i)
    rejected: dict[str, Judgement] = {}
    for j in judgements:
        if not j.same and j.query in parent and j.tracklet in parent and find(j.query) == find(j.tracklet):
            rejected[find(j.query)] = j
    good, conflicts = [], []
    for root, members in groups.items():
        names = sorted({labels[i] for i in members} - {""})
        if root in rejected:
            j = rejected[root]
            conflicts.append(
                f"{j.query} and {j.tracklet} were rejected as one person, yet labels or confirmed pairs join them "
                f"({len(members)} tracklets left out)"
            )
        elif len(names) > 1:
            conflicts.append(
                f"confirmed pairs join the labels {', '.join(names)} ({len(members)} tracklets left out)"
            )
        else:
            good.append(members)
    return sorted(good), sorted(conflicts)


def label_numbers(
    people: Iterable[Sequence[str]], labels: Mapping[str, str], row: Mapping[str, int], count: int
) -> npt.NDArray[np.int64]:
    """Number of the label that stands for each row, int64 ``[count]`` from 1; 0 where none does.

    `people` are groups of ids as `people_of` finds them; `labels` and `row` are by id, and who has no row is left out.
    """
    named = np.zeros(count, dtype=np.int64)
    numbers: dict[str, int] = {}
    for members in people:
        for label in {labels.get(i, "") for i in members} - {""}:
            named[[row[i] for i in members if i in row]] = numbers.setdefault(label, len(numbers) + 1)
    return named


def contradictions_note(conflicts: Sequence[str]) -> str:
    """One sentence about what `people_of` left out, and how `link` and `adapt` take it; empty without any."""
    if not conflicts:
        return ""
    more = f"; and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
    return (
        f"what was said contradicts itself: {'; '.join(conflicts[:SHOWN])}{more}. There, what was called different "
        "was kept apart and nothing else was followed; take one of the judgements back, or a label"
    )


def take_labels(gallery: Gallery, earlier: Gallery) -> int:
    """Take over what people said of the same tracklets in another gallery, such as one of an earlier network.

    What was said here stays: a second call undoes nothing.

    Returns:
        How many labels and judgements were taken.
    """
    labelled = {r.id: r.person for r in earlier.all_records() if r.person}
    said = earlier.judgements()
    there = gallery.find([*labelled, *(i for j in said for i in (j.query, j.tracklet))])
    people: dict[str, list[str]] = defaultdict(list)
    for i, person in labelled.items():
        if i in there and not there[i].person:
            people[person].append(i)
    for person, ids in people.items():
        gallery.set_person(ids, person)
    known = {frozenset((j.query, j.tracklet)) for j in gallery.judgements()}
    new = [j for j in said if {j.query, j.tracklet} <= there.keys() and {j.query, j.tracklet} not in known]
    for j in new:
        gallery.judge(j.query, j.tracklet, same=j.same, by=j.by)
    return sum(map(len, people.values())) + len(new)


def export_labels(
    gallery: Gallery, out: Path, *, tracklets: Mapping[str, Tracklet] | None = None
) -> ExportSummary:
    """Write what people said as a data folder that `intraclip train` reads: a manifest with pids, and the frames.

    People are numbered from 1 in order of their first tracklet's id, cameras in order of their names. The file
    ``judgements.csv`` beside the manifest has every pair, rejected ones too.

    `tracklets` by id are where all their frames are; without them, the few crops of the gallery are written.

    Raises:
        DataError: nothing was said yet, or all of it contradicts itself.
        OutputError: the folder is not empty, or cannot be written.
    """
    remedy = "give a new folder for the labels"
    require_empty_folder(out, remedy=remedy)
    judgements = gallery.judgements()
    records = {r.id: r for r in gallery.all_records()}
    groups, conflicts = people_of({i: r.person for i, r in records.items()}, judgements)
    cameras = {name: n for n, name in enumerate(sorted({r.camera for r in records.values()}), start=1)}
    rows: list[list[object]] = []
    without, frames, people = [], 0, 0
    try:
        for members in groups:
            before = len(rows)
            for i in members:
                images = _frames(gallery, i, (tracklets or {}).get(i))
                if not images:
                    without.append(i)
                    continue
                if not rows:
                    out.mkdir(parents=True, exist_ok=True, mode=0o700)
                    claim_folder(out, "tracklets", remedy=remedy)
                folder = f"tracklets/{len(rows) + 1:06d}"
                (out / folder).mkdir()
                for number, image in enumerate(images):
                    write_private(out / folder / f"{number:06d}{_suffix(image)}", image)
                frames += len(images)
                camera = records[i].camera
                rows.append([i, folder, people + 1, cameras[camera], "train", camera])
            people += len(rows) > before
        if not rows:
            reason = "; ".join(conflicts) or "no tracklet with pictures carries a label or a confirmed pair"
            raise DataError(f"nothing to export from the gallery {gallery.info.address}: {reason}")
        write_private(out / MANIFEST_CSV, csv_text((*COLUMNS, "camera"), rows).encode())
        pairs = [
            [j.query, j.tracklet, SAME if j.same else DIFFERENT, j.by, f"{j.at:.3f}"] for j in judgements
        ]
        write_private(out / JUDGEMENTS_CSV, csv_text(JUDGED, pairs).encode())
    except OSError as error:
        raise OutputError(f"the labels cannot be written to {out}: {error.strerror}") from None
    return ExportSummary(
        people=people,
        tracklets=len(rows),
        frames=frames,
        conflicts=tuple(conflicts),
        without_pictures=tuple(without),
    )


def _frames(gallery: Gallery, tracklet: str, whole: Tracklet | None) -> list[bytes]:
    if whole is None:
        return list(gallery.crops(tracklet))
    return [encoded_frame(whole, i).tobytes() for i in range(len(whole))]


def _suffix(image: bytes) -> str:
    return ".jpg" if image.startswith(b"\xff\xd8") else ".png"  # readers look into the file for its kind
