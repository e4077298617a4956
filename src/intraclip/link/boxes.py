"""Where every person was, frame by frame: the tracks of `intraclip ingest`, with people as ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from intraclip.core.files import write_text
from intraclip.errors import DataError
from intraclip.ingest.camera_tracks import CameraTracks, ai_city_text, mot_text
from intraclip.ingest.mot import read_mot
from intraclip.link.people import People

_WANTED = ("track", "first_frame", "last_frame", "camid")


def person_tracks(
    folder: Path, manifest: Mapping[str, Mapping[str, str]], people: People
) -> dict[str, tuple[int, CameraTracks]]:
    """Boxes of every person in every view of a folder of `intraclip ingest`, whose manifest has a row a tracklet.

    A track that was divided into tracklets is divided at the middle of the frames between them. Tracks without a
    tracklet, which ingest dropped, are left out.

    Returns:
        View, such as cam1 or cam1v2 -> its camera, and the boxes with people as ids; empty where the folder holds no
        tracks. Where two tracks of one person are in a frame, the first is kept.
    """
    pieces: dict[str, dict[int, list[tuple[int, int, int]]]] = defaultdict(lambda: defaultdict(list))
    camera: dict[str, int] = {}
    for name, person in zip(people.names, people.person.tolist(), strict=True):
        row = manifest.get(name, {})
        view = name.rpartition("_t")[0]
        if not view or any(not row.get(column, "").isdecimal() for column in _WANTED):
            continue
        first, last, track, camera[view] = (
            int(row[c]) for c in ("first_frame", "last_frame", "track", "camid")
        )
        pieces[view][track].append((first, last, person))
    found = {}
    for view, tracks in sorted(pieces.items()):
        file = folder / "tracks" / f"{view}.txt"
        if not file.is_file():
            continue
        mot = read_mot(file)
        person_of = np.zeros(len(mot), dtype=np.int64)
        for track, divided in tracks.items():
            divided.sort()
            rows = np.flatnonzero(mot.track == track)
            starts = [(before[1] + after[0]) / 2 for before, after in pairwise(divided)]
            people_there = np.array([person for _, _, person in divided], dtype=np.int64)
            person_of[rows] = people_there[np.searchsorted(starts, mot.frame[rows])]
        key = np.stack([mot.frame, person_of], axis=1)
        once = np.zeros(len(mot), dtype=np.bool_)
        once[np.unique(key, axis=0, return_index=True)[1]] = True
        kept = once & (person_of > 0)
        found[view] = (
            camera[view],
            CameraTracks(frame=mot.frame[kept], track=person_of[kept], boxes=mot.boxes[kept]),
        )
    return found


def by_camera(views: Mapping[str, tuple[int, CameraTracks]]) -> dict[int, CameraTracks]:
    """Tracks by camera.

    Raises:
        DataError: a camera has several recordings, whose frames all count from the first.
    """
    found: dict[int, CameraTracks] = {}
    for view, (camera, tracks) in views.items():
        if camera in found:
            raise DataError(
                f"camera {camera} has several recordings, {view} among them, whose frames all count from the first; "
                "tracks of all cameras need one recording of each"
            )
        found[camera] = tracks
    return found


def write_tracks(out: Path, views: Mapping[str, tuple[int, CameraTracks]]) -> None:
    """Write `tracks/VIEW.txt` in MOTChallenge's format and, with one recording a camera, `ai_city.txt`.

    Raises:
        OutputError: a file is there already, or cannot be written.
    """
    for view, (_, tracks) in views.items():
        write_text(out / "tracks" / f"{view}.txt", mot_text(tracks), replace=False)
    if views and len({camera for camera, _ in views.values()}) == len(views):
        write_text(out / "ai_city.txt", ai_city_text(by_camera(views)), replace=False)
