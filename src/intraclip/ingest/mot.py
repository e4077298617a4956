"""Tracks in MOTChallenge's text format, written by any tracker.

One line a person and frame (Leal-Taixé et al., "MOTChallenge 2015", arXiv:1504.01942; Milan et al., "MOT16",
arXiv:1603.00831)::

    frame, id, left, top, width, height, confidence, x, y, z            results, det.txt, and gt.txt of 2015
    frame, id, left, top, width, height, flag, class, visibility        gt.txt since 2016

Frames count from 1. An id of -1 everywhere makes the lines detections, which are still to be followed. A confidence
of -1 is unknown; a confidence or flag of 0 says that the line does not count. Class 1 is a pedestrian, visibility the
share of the person that is seen; -1 in either is unknown.

Confidences beyond 0..1, such as the 2.3 and -0.36 of MOT17's public detections (DPM), are scores whose sign decides:
all of such a file go through the logistic function, which keeps their order and puts 0 at 0.5.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.core.numbers import MAX_ID
from intraclip.errors import DataError
from intraclip.ingest.detections import Detections, Floats
from intraclip.ingest.frame_source import VideoFrame

COLUMNS = ("frame", "id", "left", "top", "width", "height", "confidence")
SHOWN_PROBLEMS = 5
MAX_SCORE = 20
"""Confidences beyond +-20 are no scores of a detector but of another scale, such as per cent."""
_UNKNOWN = -1
_SIZELESS = "a box without size"
_FAR = 1e6  # pixels; as far outside as any number


@dataclass(frozen=True, kw_only=True, eq=False)
class MotFile:
    """The lines of a file that count, sorted by frame.

    Attributes:
        followed: whether lines have ids; else they are detections.
        line: int64 ``[N]``, line numbers from 1.
        frame: int64 ``[N]``, frame numbers from 0.
        track: int64 ``[N]``, ids; -1 for detections.
        boxes: float32 ``[N, 4]``, left, top, right, bottom in pixels.
        score: float32 ``[N]`` in 0..1; 1 where it is unknown.
        is_scored: whether confidences went through the logistic function.
        hidden: float32 ``[N]`` in 0..1, share of the person that is known not to be seen; 0 where it is unknown.
        ignored: number of lines that do not count, by reason.
    """

    path: Path
    followed: bool
    line: npt.NDArray[np.int64]
    frame: npt.NDArray[np.int64]
    track: npt.NDArray[np.int64]
    boxes: Floats
    score: Floats
    is_scored: bool
    hidden: Floats
    ignored: Counter[str]

    def __len__(self) -> int:
        return len(self.frame)

    def rows_of(self, frame: int) -> slice:
        """Rows of a frame, counted from 0."""
        return slice(*np.searchsorted(self.frame, [frame, frame + 1]).tolist())

    def people(self, frame: VideoFrame) -> Detections:
        """Everyone in a frame: what a detector says, where the file holds detections."""
        rows = self.rows_of(frame.index)
        return Detections(boxes=self.boxes[rows], scores=self.score[rows])

    def inside(self, *, height: int, width: int) -> MotFile:
        """Without boxes of which nothing lies in the picture; they are counted in `ignored`.

        Raises:
            DataError: they are half of all or more; lines are named.
        """
        x1, y1, x2, y2 = self.boxes.T
        return self._without(
            (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height),
            f"box outside the picture of {width} x {height} pixels",
            "the tracks belong to another video, or to one of another size",
        )

    def within(self, count: int, video: Path) -> MotFile:
        """Without frames beyond the `count` of the video; they are counted in `ignored`.

        Raises:
            DataError: they are half of all or more; lines are named.
        """
        return self._without(
            self.frame >= count,
            f"frame beyond the {count} frames of {video}",
            "the tracks belong to another video, or the video is cut off",
        )

    def _without(self, wrong: npt.NDArray[np.bool_], what: str, remedy: str) -> MotFile:
        rows = np.flatnonzero(wrong)
        if not len(rows):
            return self
        if 2 * len(rows) >= len(self):
            rows = rows[np.argsort(self.line[rows], kind="stable")]
            lines = [
                f"line {self.line[r]}: {what} (frame {self.frame[r] + 1}, id {self.track[r]}, box "
                f"{', '.join(f'{v:g}' for v in self.boxes[r])})"
                for r in rows
            ]
            raise DataError(f"{listed(self.path, lines)}; {remedy}")
        columns = ("line", "frame", "track", "boxes", "score", "hidden")
        kept = {name: getattr(self, name)[~wrong] for name in columns}
        return replace(self, **kept, ignored=self.ignored + Counter({f"a {what}": len(rows)}))


def read_mot(path: Path, *, person_class: int = 1) -> MotFile:
    """Read a file in MOTChallenge format, its values separated by commas or blanks.

    A file in which no line counts is that of a camera that saw nobody. `person_class` is the class that counts, where
    the file has a column of classes (nine columns).

    Raises:
        DataError: it cannot be read, a value is wrong (lines are named), only some lines have ids, an id occurs twice
            in a frame, or half of the boxes or more have no size.
    """
    rows: list[tuple[int, ...]] = []
    values: list[list[float]] = []
    problems: list[str] = []
    sizeless: list[str] = []
    ignored: Counter[str] = Counter()
    seen: dict[tuple[int, int], int] = {}
    for number, line in lines_of(path):
        try:
            frame, track, box, score, hidden, reason = _parse(line, person_class)
            if track != _UNKNOWN and (frame, track) in seen:
                raise ValueError(f"id {track} is in frame {frame} already, in line {seen[frame, track]}")
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        if reason == _SIZELESS:
            sizeless.append(f"line {number}: the box {', '.join(f'{v:g}' for v in box)} has no size")
        if track != _UNKNOWN:
            seen[frame, track] = number
        if reason:
            ignored[reason] += 1
            continue
        rows.append((number, frame - 1, track))
        values.append([*box, score, hidden])
    if problems:
        raise DataError(f"{listed(path, problems)}; a line is {', '.join(COLUMNS)}, ..., frames count from 1")
    if 2 * len(sizeless) >= max(len(rows) + len(sizeless), 1):
        raise DataError(
            f"{listed(path, sizeless)}; a line is {', '.join(COLUMNS)}, ..., and not the right and bottom edge"
        )
    numbers = np.array(rows, np.int64).reshape(-1, 3)
    table = np.array(values, np.float64).reshape(-1, 6)
    unknown = numbers[:, 2] == _UNKNOWN
    if unknown.any() and not unknown.all():
        raise DataError(
            f"{path}: some lines have an id and some have -1, such as line {numbers[unknown.argmax(), 0]}; give tracks "
            "(ids everywhere) or detections (-1 everywhere)"
        )
    order = np.lexsort((numbers[:, 2], numbers[:, 1]))
    numbers, table = numbers[order], table[order]
    scores, known = table[:, 4], table[:, 4] != _UNKNOWN
    is_scored = bool((known & ((scores < 0) | (scores > 1))).any())
    if is_scored:
        scores = 1 / (1 + np.exp(-scores))
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    return MotFile(
        path=path,
        followed=not len(unknown) or not unknown.all(),
        line=numbers[:, 0],
        frame=numbers[:, 1],
        track=numbers[:, 2],
        boxes=boxes.clip(-_FAR, _FAR).astype(np.float32),
        score=np.where(known, scores, 1).astype(np.float32),
        is_scored=is_scored,
        hidden=table[:, 5].astype(np.float32),
        ignored=ignored,
    )


def write_mot(rows: Iterable[tuple[int, int, tuple[float, float, float, float], float]]) -> str:
    r"""Text in MOTChallenge format: frame (from 1), id, left, top, width, height, score, -1, -1, -1.

    Rows are frame number from 0, id, box as left, top, right, bottom, and score.

    >>> write_mot([(0, 7, (10.0, 20.0, 30.0, 60.0), 0.9)])
    '1,7,10.00,20.00,20.00,40.00,0.9000,-1,-1,-1\n'
    """
    return "".join(
        f"{frame + 1},{track},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.4f},-1,-1,-1\n"
        for frame, track, (x1, y1, x2, y2), score in rows
    )


def _parse(line: str, person_class: int) -> tuple[int, int, list[float], float, float, str]:
    """Frame from 1, id, left/top/width/height, confidence, hidden share, and why the line does not count."""
    cells = [c.strip() for c in line.split(",")] if "," in line else line.split()
    if cells and not cells[-1]:
        cells.pop()  # a comma at the end
    if len(cells) < 6:
        raise ValueError(f"{len(cells)} values, at least 6 are needed")
    values = []
    for column, cell in enumerate(cells[:9]):
        try:
            values.append(float(cell))
        except ValueError:
            name = COLUMNS[column] if column < len(COLUMNS) else f"column {column + 1}"
            raise ValueError(f"{name} {cell!r} is no number") from None
        if not math.isfinite(values[-1]) and not 2 <= column <= 5:
            raise ValueError(f"column {column + 1} is {cell}")
    for name, value, least in (("frame", values[0], 1), ("id", values[1], _UNKNOWN)):
        if not value.is_integer() or not least <= value <= MAX_ID:
            raise ValueError(f"{name} {value:g} is no whole number of at least {least}")
    confidence = values[6] if len(values) > 6 else _UNKNOWN
    if abs(confidence) > MAX_SCORE:
        raise ValueError(f"confidence {confidence:g} is not in 0..1, nor -1 for unknown; scale it")
    # Only files of nine columns have classes; with ten, columns 8 to 10 are a place in the world.
    kind, visibility = (values[7], values[8]) if len(cells) == 9 else (_UNKNOWN, _UNKNOWN)
    if visibility > 1 or (visibility < 0 and visibility != _UNKNOWN):
        raise ValueError(f"visibility {visibility:g} is not in 0..1, nor -1 for unknown")
    reason = ""
    if kind not in (_UNKNOWN, person_class):
        reason = f"class {kind:g}"
    elif confidence == 0:
        reason = "confidence 0"
    elif visibility == 0:
        reason = "visibility 0"
    elif not all(map(math.isfinite, values[2:6])) or min(values[4:6]) <= 0:
        reason = _SIZELESS
    return (
        int(values[0]),
        int(values[1]),
        values[2:6],
        confidence,
        0.0 if visibility == _UNKNOWN else 1 - visibility,
        reason,
    )


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a file of tracks that are not blank, with their numbers.

    Raises:
        DataError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(
            f"the tracks {path} cannot be read: {reason}; give a file in MOTChallenge format"
        ) from None
    return ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())


def listed(path: Path, problems: Sequence[str]) -> str:
    """The first problems of a file, and how many more there are."""
    more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return f"{path}: {'; '.join(problems[:SHOWN_PROBLEMS])}{more}"
