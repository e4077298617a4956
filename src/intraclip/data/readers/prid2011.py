"""PRID-2011, multi-shot version: two cameras, ten random halves.

Hirzer et al., "Person Re-Identification by Descriptive and Discriminative Classification", SCIA 2011. Layout::

    prid_2011/multi_shot/cam_a/person_0001/0001.png
    prid_2011/multi_shot/cam_b/person_0001/…
    splits_prid2011.json          optional: ten times {"train": ["person_0004", …], "test": […]}

200 people are in both cameras; the usual protocol keeps the 178 with at least 27 frames in each, in ten halves of 89.
Without a split file ten halves are computed from the names: the same on every machine, but not the published ones.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from intraclip.data.readers.common import (
    Reader,
    benchmark_info,
    check_split_number,
    first_file,
    list_folders,
    list_images,
    natural_key,
    raise_problems,
    shorten,
)
from intraclip.data.readers.counts import PublishedCounts
from intraclip.data.readers.two_cameras import NUMBER, two_camera_split
from intraclip.errors import DataError
from intraclip.types import Split

SPLIT_FILE = "splits_prid2011.json"
MIN_FRAMES = 27
"""Shortest sequence of the usual protocol; it leaves 178 people."""
MIN_FRAMES_BENCHMARK = 2
NUM_COMPUTED_SPLITS = 10
COMPUTED_SPLIT_SEED = 2011

PRID2011_PUBLISHED = PublishedCounts(
    source="the usual 178 people with at least 27 frames in both cameras",
    counts={
        "training pids": 89,
        "training tracklets": 178,
        "query pids": 89,
        "query tracklets": 89,
        "gallery tracklets": 89,
    },
)

_CAMERAS = {"cam_a": 1, "cam_b": 2}


@dataclass(frozen=True, kw_only=True)
class Halves:
    """Folder names of one split."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def read_prid2011(root: Path, *, split: int = 0) -> Split:
    """Read one of the splits; queries are camera a (camid 1), the gallery is camera b (camid 2).

    Without a split file, people with fewer than 27 frames in either camera are left out, as is usual; fewer than 2 in a
    rendered copy (`benchmark.json`).

    Raises:
        DataError: folders are missing, or the split file names people who are not there.
    """
    folder = multi_shot_folder(root)
    splits = _splits(root, folder)
    check_split_number(split, len(splits), root)
    return two_camera_split(
        root,
        folder,
        _CAMERAS,
        train=splits[split].train,
        test=splits[split].test,
        layout="prid2011",
        index=split,
        title=f"PRID-2011 in {folder}, split {split}",
        remedy=f"Unpack the data again, or remove {SPLIT_FILE} to compute.",
    )


def count_prid2011_splits(root: Path) -> int:
    """Number of splits in the split file, or ten."""
    path = _split_file(root)
    return NUM_COMPUTED_SPLITS if path is None else len(read_prid2011_splits(path))


def multi_shot_folder(root: Path) -> Path:
    """The folder with ``cam_a`` and ``cam_b``.

    Raises:
        DataError: there is none.
    """
    candidates = (root / "prid_2011" / "multi_shot", root / "multi_shot")
    for folder in candidates:
        if folder.is_dir():
            missing = [camera for camera in _CAMERAS if not (folder / camera).is_dir()]
            if missing:
                raise DataError(
                    f"PRID-2011: {', '.join(missing)} missing in {folder}; unpack prid_2011.zip again"
                )
            return folder
    raise DataError(
        f"PRID-2011 in {root}: no {' and no '.join(map(str, candidates))}; unpack prid_2011.zip there "
        "(the multi-shot version)"
    )


def read_prid2011_splits(path: Path) -> list[Halves]:
    """Read a split file: a JSON list of objects with the folder names under ``train`` and ``test``.

    Raises:
        DataError: no such file, no JSON, other content, or a person on both sides.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except ValueError as error:
        raise DataError(f"{path} is truncated or no JSON file: {error}") from None
    expected = 'expected a list of {"train": ["person_0001", …], "test": […]}'
    if not isinstance(content, list) or not content:
        raise DataError(f"{path}: {expected}")
    splits: list[Halves] = []
    problems: list[str] = []
    for i, entry in enumerate(content):
        train, test = (_people_of(entry, side) for side in ("train", "test"))
        if not train or not test:
            problems.append(f"split {i}: {expected}")
            continue
        times = Counter([*train, *test])
        twice = [name for name, count in times.items() if count > 1]
        if twice:
            problems.append(f"split {i}: named twice: {shorten(twice)}")
            continue
        splits.append(_halves(train, test))
    raise_problems(str(path), problems, "Get the file again, or remove it to compute splits.")
    return splits


def compute_prid2011_splits(people: list[str]) -> list[Halves]:
    """Random halves that depend on the names alone: each person's place is a hash of seed, split and name.

    A hash gives the same halves with every version of Python and NumPy, which a random generator does not promise.

    >>> compute_prid2011_splits(["person_0001", "person_0002"])[0]
    Halves(train=('person_0002',), test=('person_0001',))
    """
    splits = []
    for split in range(NUM_COMPUTED_SPLITS):
        order = sorted(
            people,
            key=lambda name: hashlib.sha256(f"{COMPUTED_SPLIT_SEED}/{split}/{name}".encode()).digest(),
        )
        half = len(order) // 2
        splits.append(_halves(order[:half], order[half:]))
    return splits


def _halves(train: list[str], test: list[str]) -> Halves:
    return Halves(train=tuple(sorted(train, key=natural_key)), test=tuple(sorted(test, key=natural_key)))


def _people_of(entry: object, side: str) -> list[str]:
    """Folder names of one half in a split file; empty when they are not what they should be."""
    names = entry.get(side) if isinstance(entry, dict) else None
    if not isinstance(names, list):
        return []
    return names if all(isinstance(name, str) and NUMBER.search(name) for name in names) else []


def _split_file(root: Path) -> Path | None:
    return first_file(root, SPLIT_FILE, f"prid_2011/{SPLIT_FILE}")


def _splits(root: Path, folder: Path) -> list[Halves]:
    path = _split_file(root)
    if path is not None:
        return read_prid2011_splits(path)
    min_frames = MIN_FRAMES if benchmark_info(root) is None else MIN_FRAMES_BENCHMARK
    people = [
        person
        for person in list_folders(folder / "cam_a")
        if NUMBER.search(person)
        and all(len(list_images(folder / camera / person)) >= min_frames for camera in _CAMERAS)
    ]
    if len(people) < 2:
        raise DataError(
            f"PRID-2011 in {folder}: {len(people)} people have at least {min_frames} frames in both cameras, "
            "two are needed; is the multi-shot version unpacked completely?"
        )
    return compute_prid2011_splits(people)


PRID2011 = Reader(
    name="prid2011",
    markers="prid_2011/multi_shot/cam_a/ and cam_b/",
    inner_folders=("prid_2011", "multi_shot"),
    read=lambda root, split, direction: read_prid2011(root, split=split),
    count_splits=count_prid2011_splits,
    published=PRID2011_PUBLISHED,
)
