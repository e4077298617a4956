"""MARS: tracklets from a table of rows into a list of file names.

Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-Identification", ECCV 2016. Layout::

    bbox_train/0001/0001C1T0001F001.jpg      pid 0001, camera 1, tracklet 1, frame 1
    bbox_test/0000/…, bbox_test/00-1/…       distractors (pid 0), junk (pid -1)
    info/train_name.txt  info/test_name.txt  every file name (also as .txt.gz)
    info/tracks_train_info.mat               a row a tracklet: first frame, last frame, pid, camera
    info/tracks_test_info.mat                the same; frames count from 1, the last one belongs to the tracklet
    info/query_IDX.mat                       rows of the test table that are queries, counted from 1

Published counts: 625 pids, 8,298 tracklets and 509,914 frames to train; 12,180 test tracklets with 681,089 frames,
of which 1,980 (626 pids) are queries, 870 are junk and 3,248 distractors. They were taken from the authors' own tables.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.data.readers.common import Reader, check_split_number, dataset_name, raise_problems, shorten
from intraclip.data.readers.counts import PublishedCounts
from intraclip.data.readers.matlab import mat_table
from intraclip.errors import DataError
from intraclip.types import Split, Tracklet

MARS_PUBLISHED = PublishedCounts(
    source="the authors' tables (MARS-evaluation, info/)",
    counts={
        "training pids": 625,
        "training tracklets": 8_298,
        "training frames": 509_914,
        "frames in the shortest training tracklet": 5,
        "test pids": 634,
        "test tracklets": 12_180,
        "test frames": 681_089,
        "frames in the shortest test tracklet": 2,
        "query tracklets": 1_980,
        "query pids": 626,
        "gallery tracklets": 10_200,
        "junk tracklets (pid -1)": 870,
        "distractor tracklets (pid 0)": 3_248,
    },
)

_REMEDY = "Get bbox_train, bbox_test and the info folder complete and from one source, and keep the files unchanged."
_FIRST, _LAST, _PID, _CAMID = range(4)


@dataclass(frozen=True, kw_only=True)
class MarsTable:
    """One half of MARS, training or test.

    Attributes:
        names: file names, such as ``0001C1T0001F001.jpg``.
        rows: int64 ``[N, 4]``: first frame, last frame, pid, camid; frames count from 1 into `names`.
    """

    names: tuple[str, ...]
    rows: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Frames of each tracklet, int64 ``[N]``."""
        lengths: npt.NDArray[np.int64] = self.rows[:, _LAST] - self.rows[:, _FIRST] + 1
        return lengths

    def unused_names(self) -> list[str]:
        """File names that no tracklet holds; none in the published tables."""
        used = np.zeros(len(self.names) + 1, dtype=np.int64)
        np.add.at(used, self.rows[:, _FIRST] - 1, 1)
        np.add.at(used, self.rows[:, _LAST], -1)
        return [self.names[i] for i in np.flatnonzero(np.cumsum(used)[:-1] == 0)]

    def tracklets(self, folder: Path) -> list[Tracklet]:
        """One `Tracklet` a row, with frames in ``folder/<first four characters>/``."""
        # Built once and sliced: a join per frame and tracklet would dominate the time for a million frames.
        paths = [f"{name[:4]}/{name}" for name in self.names]
        return [
            Tracklet(
                name=self.names[first - 1].partition("F")[0],
                root=folder,
                frames=tuple(paths[first - 1 : last]),
                pid=pid,
                camid=camid,
            )
            for first, last, pid, camid in self.rows.tolist()
        ]


@dataclass(frozen=True, kw_only=True)
class MarsInfo:
    """The info folder of MARS, checked.

    Attributes:
        train: names and table of the training half.
        test: names and table of the test half.
        query_rows: int64 ``[Q]``: rows of the test table that are queries, counted from 0.
    """

    train: MarsTable
    test: MarsTable
    query_rows: npt.NDArray[np.int64]

    def split(self, root: Path) -> Split:
        """The split of the data set at `root`; touches no image."""
        test = self.test.tracklets(root / "bbox_test")
        queries = set(self.query_rows.tolist())
        return Split(
            dataset=dataset_name(root, "mars"),
            root=root,
            train=tuple(self.train.tracklets(root / "bbox_train")),
            query=tuple(test[row] for row in self.query_rows.tolist()),
            gallery=tuple(tracklet for row, tracklet in enumerate(test) if row not in queries),
            protocol="mars-full",
        )


def read_mars(root: Path, *, split: int = 0) -> Split:
    """Read MARS, or a rendered copy of its layout.

    The gallery holds every test tracklet that is no query, junk and distractors included: 10,200 in the published set.

    Raises:
        DataError: a folder or a table is missing, damaged, or the tables contradict the file names.
    """
    check_split_number(split, 1, root)
    missing = [
        f"{root / name} is missing" for name in ("bbox_train", "bbox_test") if not (root / name).is_dir()
    ]
    try:
        info = read_mars_info(root / "info")
    except DataError as error:
        if missing:
            raise DataError(f"{error}\n  - {'; '.join(missing)}") from None
        raise
    raise_problems(f"MARS in {root}", missing, _REMEDY)
    return info.split(root)


def read_mars_info(info_dir: Path) -> MarsInfo:
    """Read and check the info folder; no image is needed.

    File names say pid and camera too, so a table that does not belong to its list of names is noticed.

    Raises:
        DataError: all problems of the folder at once.
    """
    problems: list[str] = []
    names = {half: _read_names(info_dir, half, problems) for half in ("train", "test")}
    rows = {
        half: _read_table(info_dir / f"tracks_{half}_info.mat", f"track_{half}_info", problems)
        for half in ("train", "test")
    }
    queries = _read_table(info_dir / "query_IDX.mat", "query_IDX", problems)
    for half in ("train", "test"):
        if names[half] and rows[half].size:
            problems += _table_problems(MarsTable(names=names[half], rows=rows[half]), half)
    train_pids, test_pids = (set(rows[half][:, _PID].tolist()) for half in ("train", "test"))
    shared = sorted(pid for pid in train_pids & test_pids if pid > 0)
    if shared:
        problems.append(f"{len(shared):,} pids are in the training and in the test table: {shorten(shared)}")
    query_rows = queries.ravel() - 1
    if queries.size and rows["test"].size:
        problems += _query_problems(query_rows, rows["test"])
    raise_problems(f"MARS metadata in {info_dir}", problems, _REMEDY)
    return MarsInfo(
        train=MarsTable(names=names["train"], rows=rows["train"]),
        test=MarsTable(names=names["test"], rows=rows["test"]),
        query_rows=query_rows,
    )


def _read_names(info_dir: Path, half: str, problems: list[str]) -> tuple[str, ...]:
    plain = info_dir / f"{half}_name.txt"
    packed = info_dir / f"{half}_name.txt.gz"
    path = plain if plain.is_file() else packed
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path is packed else data).decode("ascii")
    except FileNotFoundError:
        problems.append(f"{plain.name} is missing (and so is {packed.name})")
        return ()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        problems.append(f"{path.name} cannot be read, it is truncated or no list of names ({error})")
        return ()
    if not text.strip():
        problems.append(f"{path.name} is empty")
    return tuple(text.split())


def _read_table(path: Path, variable: str, problems: list[str]) -> npt.NDArray[np.int64]:
    """The table, or an empty one and an entry in `problems`."""
    try:
        table = mat_table(path, variable)
    except DataError as error:
        problems.append(str(error))
        return np.empty((0, 4), dtype=np.int64)
    if variable != "query_IDX" and (table.ndim != 2 or table.shape[1] != 4):
        problems.append(f"{path.name}: {variable} has shape {table.shape}, expected [tracklets, 4]")
        return np.empty((0, 4), dtype=np.int64)
    if not table.size:
        problems.append(f"{path.name}: {variable} is empty")
    return table


def _table_problems(table: MarsTable, half: str) -> list[str]:
    """What is wrong between a table and its list of names, each in one sentence."""
    file, names, rows = f"tracks_{half}_info.mat", table.names, table.rows
    first, last = rows[:, _FIRST], rows[:, _LAST]
    outside = np.flatnonzero((first < 1) | (last < first) | (last > len(names)))
    if len(outside):
        row = outside[0]
        return [
            f"{file}: {len(outside):,} of {len(rows):,} rows point outside the {len(names):,} names of "
            f"{half}_name.txt, first row {row + 1}: frames {first[row]} to {last[row]}; one of the two is truncated"
        ]

    pids, camids, tags = _parse_names(names)
    strange = np.flatnonzero(camids < 0)
    if len(strange):
        return [
            f"{half}_name.txt: {len(strange):,} names are not like 0001C1T0001F001.jpg: "
            f"{shorten([names[i] for i in strange], 3)}"
        ]

    problems = []
    lengths = table.lengths
    # All frames of all tracklets in one flat array, so that nothing loops over a million frames.
    owner = np.repeat(np.arange(len(rows)), lengths)
    frame = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + (first - 1)[owner]
    mixed = np.unique(owner[tags[frame] != tags[(first - 1)[owner]]])
    if len(mixed):
        row = mixed[0]
        problems.append(
            f"{half}: {len(mixed):,} tracklets mix frames of several tracklets, people or cameras, "
            f"first row {row + 1}: {names[first[row] - 1]} to {names[last[row] - 1]}"
        )
    for column, said, word in ((_PID, pids, "pid"), (_CAMID, camids, "camid")):
        wrong = np.flatnonzero(rows[:, column] != said[first - 1])
        if len(wrong):
            row = wrong[0]
            problems.append(
                f"{file}: {len(wrong):,} of {len(rows):,} rows have a {word} that the file names contradict, "
                f"first row {row + 1}: {word} {rows[row, column]}, but the frames are {names[first[row] - 1]} …; "
                "the table was reordered or belongs to another copy"
            )
    return problems


def _parse_names(
    names: tuple[str, ...],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.void]]:
    """Pid, camid and the eleven characters ``0001C1T0001`` of each name; camid -1 marks a strange name."""
    count = len(names)
    # Eleven characters name the tracklet; the rest may have any length.
    head = "".join([name[:11].ljust(11) for name in names]).encode("ascii")
    letters = np.frombuffer(head, dtype=np.uint8).reshape(count, 11)
    digits = letters.astype(np.int64) - ord("0")
    pids = digits[:, :4] @ np.array([1000, 100, 10, 1])
    junk = (letters[:, :4] == np.frombuffer(b"00-1", dtype=np.uint8)).all(axis=1)
    pids[junk] = -1
    is_digit = (digits >= 0) & (digits <= 9)
    good = (
        (is_digit[:, :4].all(axis=1) | junk)
        & (letters[:, 4] == ord("C"))
        & is_digit[:, 5]
        & (letters[:, 6] == ord("T"))
        & is_digit[:, 7:].all(axis=1)
    )
    camids = np.where(good, digits[:, 5], -1)
    return pids, camids, np.frombuffer(head, dtype="V11")


def _query_problems(query_rows: npt.NDArray[np.int64], test_rows: npt.NDArray[np.int64]) -> list[str]:
    outside = np.flatnonzero((query_rows < 0) | (query_rows >= len(test_rows)))
    if len(outside):
        return [
            f"query_IDX.mat: {len(outside):,} of {len(query_rows):,} entries are no row of tracks_test_info.mat "
            f"(1 to {len(test_rows)}): {shorten((query_rows[outside] + 1).tolist())}"
        ]
    problems = []
    values, times = np.unique(query_rows, return_counts=True)
    if (times > 1).any():
        problems.append(f"query_IDX.mat: rows are named twice: {shorten((values[times > 1] + 1).tolist())}")
    nobody = query_rows[test_rows[query_rows, _PID] < 1]
    if len(nobody):
        problems.append(
            f"query_IDX.mat: {len(nobody):,} queries are junk or distractors (pid below 1), rows "
            f"{shorten((nobody + 1).tolist())}; it belongs to another test table"
        )
    return problems


MARS = Reader(
    name="mars",
    markers="bbox_train/, bbox_test/ and info/",
    inner_folders=("bbox_train", "bbox_test", "info"),
    read=lambda root, split, direction: read_mars(root, split=split),
    published=MARS_PUBLISHED,
)
