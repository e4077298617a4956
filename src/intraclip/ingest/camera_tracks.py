"""Boxes of people in several cameras, in the layouts of MOTChallenge and of the AI City Challenge.

MOTChallenge: a folder with a file a camera, `cam1.txt` and so on (`intraclip.ingest.mot`), or with sequences
(`cam1/gt/gt.txt`); an id is one person in all of them. The AI City Challenge's multi-camera people tracking (Naphade et
al., "The 7th AI City Challenge", CVPR Workshops 2023, track 1): one file for all cameras, values divided by blanks::

    camera, id, frame, left, top, width, height, x, y

Frames count from 0 there, and from 1 in MOTChallenge's files. A place x, y in the world is -1 where it is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.numbers import MAX_ID
from intraclip.errors import DataError
from intraclip.ingest.cameras import camid_of
from intraclip.ingest.mot import MotFile, lines_of, listed, read_mot, write_mot

AI_CITY = "camera id frame left top width height x y"


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraTracks:
    """Boxes of one camera.

    Attributes:
        frame: int64 ``[N]``, from 0.
        track: int64 ``[N]``, ids; none twice in a frame.
        boxes: float32 ``[N, 4]``, left, top, right, bottom in pixels.
    """

    frame: npt.NDArray[np.int64]
    track: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]

    @classmethod
    def of(cls, file: MotFile) -> CameraTracks:
        """Those of a file."""
        return cls(frame=file.frame, track=file.track, boxes=file.boxes)

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, rows: npt.NDArray[Any]) -> CameraTracks:
        return CameraTracks(frame=self.frame[rows], track=self.track[rows], boxes=self.boxes[rows])


Tracks = Mapping[int, CameraTracks]
"""By camera number."""


def read_tracks(path: Path) -> dict[int, CameraTracks]:
    """Read boxes with ids of all cameras.

    The path is a folder of MOTChallenge files or sequences, a single such file, or a file of the AI City Challenge. The
    camera is the number in the name of a file or sequence.

    Raises:
        DataError: nothing there, a file that cannot be read (lines are named), lines without ids, a name without a
            camera's number, or two files of one camera.
    """
    if path.is_dir():
        files = {file: file.stem for file in sorted(path.glob("*.txt")) if camid_of(file) is not None}
        files |= {file: file.parts[-3] for file in sorted(path.glob("*/gt/gt.txt"))}
        if not files:
            raise DataError(
                f"{path} holds no tracks: files such as cam1.txt, or sequences such as cam1/gt/gt.txt, are needed"
            )
    elif _is_ai_city(path):
        return _read_ai_city(path)
    else:
        files = {path: path.stem}
    found: dict[int, CameraTracks] = {}
    for file, name in files.items():
        camera = camid_of(Path(f"{name}.txt"))
        if camera is None:
            raise DataError(f"{file}: its name holds no number of a camera; call it such as cam1.txt")
        if camera in found:
            raise DataError(f"{path} holds several files of camera {camera}; give each camera one")
        mot = read_mot(file)
        if not mot.followed:
            raise DataError(f"{file}: its lines have no ids; tracks are needed, not detections")
        found[camera] = CameraTracks.of(mot)
    return found


def mot_text(tracks: CameraTracks) -> str:
    r"""One camera in MOTChallenge's format.

    >>> one = CameraTracks(frame=np.array([4]), track=np.array([7]), boxes=np.array([[1, 2, 11, 32]], dtype=np.float32))
    >>> mot_text(one)
    '5,7,1.00,2.00,10.00,30.00,1.0000,-1,-1,-1\n'
    """
    return write_mot(
        (frame, track, (box[0], box[1], box[2], box[3]), 1.0) for frame, track, box in _rows(tracks)
    )


def ai_city_text(tracks: Tracks) -> str:
    r"""All cameras in the AI City Challenge's format; places in the world are unknown.

    >>> one = CameraTracks(frame=np.array([4]), track=np.array([7]), boxes=np.array([[1, 2, 11, 32]], dtype=np.float32))
    >>> ai_city_text({3: one})
    '3 7 4 1 2 10 30 -1 -1\n'
    """
    return "".join(
        f"{camera} {track} {frame} {x1:g} {y1:g} {x2 - x1:g} {y2 - y1:g} -1 -1\n"
        for camera, one in sorted(tracks.items())
        for frame, track, (x1, y1, x2, y2) in _rows(one)
    )


def _rows(tracks: CameraTracks) -> list[tuple[int, int, list[float]]]:
    """Frame, id and box, by frame and id."""
    order = np.lexsort((tracks.track, tracks.frame))
    boxes = np.round(tracks.boxes[order].astype(np.float64), 2)
    return list(zip(tracks.frame[order].tolist(), tracks.track[order].tolist(), boxes.tolist(), strict=True))


def _is_ai_city(path: Path) -> bool:
    """Nine values divided by blanks; a file whose own name tells the camera is MOTChallenge's."""
    _, first = next(lines_of(path), (0, ""))
    return "," not in first and len(first.split()) == 9 and camid_of(path) is None


def _read_ai_city(path: Path) -> dict[int, CameraTracks]:
    rows: list[list[float]] = []
    problems: list[str] = []
    seen: dict[tuple[float, float, float], int] = {}
    for number, line in lines_of(path):
        try:
            values = [float(cell) for cell in line.split()]
            if len(values) != 9:
                raise ValueError(f"{len(values)} values, 9 are needed")
            if not all(map(math.isfinite, values)):
                raise ValueError("a value is not finite")
            if not all(v.is_integer() and 0 <= v <= MAX_ID for v in values[:3]):
                raise ValueError("camera, id and frame must be whole numbers of at least 0")
            if min(values[5:7]) <= 0:
                raise ValueError(f"the box {', '.join(f'{v:g}' for v in values[3:7])} has no size")
            key = (values[0], values[1], values[2])
            if key in seen:
                raise ValueError(f"id {key[1]:g} is in frame {key[2]:g} already, in line {seen[key]}")
            seen[key] = number
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        rows.append(values)
    if problems:
        raise DataError(f"{listed(path, problems)}; a line is {AI_CITY}")
    table = np.array(rows, dtype=np.float64).reshape(-1, 9)
    table = table[np.lexsort((table[:, 1], table[:, 2], table[:, 0]))]
    corners = np.concatenate([table[:, 3:5], table[:, 3:5] + table[:, 5:7]], axis=1).astype(np.float32)
    cameras, tracks, frames = table[:, :3].astype(np.int64).T
    every = CameraTracks(frame=frames, track=tracks, boxes=corners)
    return {camera: every[cameras == camera] for camera in np.unique(cameras).tolist()}
