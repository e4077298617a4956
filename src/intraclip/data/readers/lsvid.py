"""LS-VID: fifteen cameras, long tracklets.

Li et al., "Global-Local Temporal Representations for Video Person Re-Identification", ICCV 2019. Layout::

    tracklet_train/… tracklet_test/…      frames named <pid>_<tracklet>_<camera>_<frame>.jpg
    list_sequence/list_seq_train.txt      a line a tracklet: path up to the frame's number, space, number of the person
    list_sequence/list_seq_test.txt       the same
    test/data/info_test.mat               query: lines of the test list, counted from 1; info_test: a row a line with
                                          first frame, last frame, person, camera (MATLAB 7.3, read with h5py)

`list_sequence` and `data` may also lie in a folder ``info``. Published counts: 842 pids and 2,831 tracklets to train;
2,730 pids and 11,333 tracklets to test, of which 3,504 are queries (four of them without a match in another camera).
The validation part (200 pids, 779 tracklets) is not read.

LS-VID counts people from 0, in training and in test anew. Here pid 0 means "distractor", so training pids are the
number plus 1 and test pids the number plus 10,001; tracklet names keep the original numbers.
"""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.data.readers.common import (
    Reader,
    check_split_number,
    dataset_name,
    first_file,
    list_images,
    natural_key,
    raise_problems,
    shorten,
)
from intraclip.data.readers.counts import PublishedCounts
from intraclip.data.readers.matlab import mat_table
from intraclip.errors import DataError
from intraclip.types import Split, Tracklet

TRAIN_PID_OFFSET = 1
TEST_PID_OFFSET = 10_001

LSVID_PUBLISHED = PublishedCounts(
    source="Li et al., ICCV 2019, and the authors' info_test.mat",
    counts={
        "training pids": 842,
        "training tracklets": 2_831,
        "test pids": 2_730,
        "test tracklets": 11_333,
        "query tracklets": 3_504,
        "gallery tracklets": 7_829,
    },
)

_REMEDY = "Get the lists, info_test.mat and the tracklet folders complete and from one source."


def read_lsvid(root: Path, *, split: int = 0) -> Split:
    """Read LS-VID.

    A copy without the training list can still be tested on: `Split.train` is empty then.

    Raises:
        DataError: the test list or info_test.mat is missing or damaged, they contradict each other, or tracklets
            of a list have no frames.
        MissingExtraError: info_test.mat is a MATLAB 7.3 file, and h5py is not installed.
    """
    check_split_number(split, 1, root)
    problems: list[str] = []
    train_list = first_file(root, "list_sequence/list_seq_train.txt", "info/list_sequence/list_seq_train.txt")
    test_list = first_file(root, "list_sequence/list_seq_test.txt", "info/list_sequence/list_seq_test.txt")
    info_file = first_file(
        root, "test/data/info_test.mat", "info/data/info_test.mat", "info/info_test.mat", "info_test.mat"
    )
    if test_list is None:
        problems.append("list_sequence/list_seq_test.txt is missing")
    if info_file is None:
        problems.append("test/data/info_test.mat is missing")
    if test_list is None or info_file is None:
        raise_problems(f"LS-VID in {root}", problems, _REMEDY)
        raise DataError(f"LS-VID in {root} is incomplete. {_REMEDY}")

    folders = _Folders(root)
    test = _read_list(test_list, folders, TEST_PID_OFFSET, problems)
    train = [] if train_list is None else _read_list(train_list, folders, TRAIN_PID_OFFSET, problems)
    raise_problems(f"LS-VID in {root}", problems, _REMEDY)
    query_rows = _read_queries(info_file, test)
    queries = set(query_rows.tolist())
    return Split(
        dataset=dataset_name(root, "lsvid"),
        root=root,
        train=tuple(train),
        query=tuple(test[row] for row in query_rows.tolist()),
        gallery=tuple(tracklet for row, tracklet in enumerate(test) if row not in queries),
        protocol="lsvid",
    )


def read_lsvid_info(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Read info_test.mat or info_val.mat.

    Returns:
        The table, int64 ``[N, 4]`` (first frame, last frame, person, camera), and the query rows, int64 ``[Q]``,
        counted from 0.

    Raises:
        DataError: the file is missing, damaged, or lacks ``info_test`` or ``query``.
        MissingExtraError: a MATLAB 7.3 file, and h5py is not installed.
    """
    table = mat_table(path, "info_test")
    if table.ndim != 2 or table.shape[1] != 4:
        raise DataError(f"{path}: info_test has shape {table.shape}, expected [tracklets, 4]")
    query_rows = mat_table(path, "query").ravel() - 1
    outside = query_rows[(query_rows < 0) | (query_rows >= len(table))]
    if len(outside):
        raise DataError(
            f"{path}: queries {shorten((outside + 1).tolist())} are no row of info_test (1 to {len(table)})"
        )
    return table, query_rows


class _Folders:
    """Listings of folders, each read once: many tracklets share one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[str, list[str]] = {}

    def images(self, folder: str) -> list[str]:
        """Names of the frames in a folder, sorted as text so that a prefix is one run of them."""
        if folder not in self._names:
            path = self.root / folder
            self._names[folder] = sorted(list_images(path))
        return self._names[folder]

    def frames(self, prefix: str) -> list[str]:
        """Frames whose path starts with `prefix`, in natural order; ``…_1`` does not take those of ``…_10``."""
        folder, start = posixpath.split(prefix)
        if (self.root / prefix).is_dir():
            folder, start = prefix.rstrip("/"), ""
        names = self.images(folder)
        found = []
        for i in range(bisect_left(names, start), len(names)):
            if not names[i].startswith(start):
                break
            if not (start[-1:].isdecimal() and names[i][len(start)].isdecimal()):
                found.append(f"{folder}/{names[i]}" if folder else names[i])
        return sorted(found, key=natural_key)


def _read_list(path: Path, folders: _Folders, pid_offset: int, problems: list[str]) -> list[Tracklet]:
    """The tracklets of a list; what is wrong with it goes to `problems`."""
    tracklets = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path.name} cannot be read, it is no list of names ({error})")
        return []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        prefix, _, person = line.strip().rpartition(" ")
        prefix = prefix.strip().replace("\\", "/")
        if not prefix or not person.isdecimal():
            problems.append(
                f"{path.name}, line {number}: {line!r}, expected a path, a space and a person's number"
            )
            continue
        frames = folders.frames(prefix)
        if not frames:
            problems.append(f"{path.name}, line {number}: no frame {folders.root / prefix}*")
            continue
        camids = {_camid(frame) for frame in frames}
        camid = camids.pop()
        if camid is None or camids:
            problems.append(
                f"{path.name}, line {number}: the frames {prefix}* do not name one camera, expected "
                "<pid>_<tracklet>_<camera>_<frame>"
            )
            continue
        tracklets.append(
            Tracklet(
                name=prefix.rstrip("_/"),
                root=folders.root,
                frames=tuple(frames),
                pid=int(person) + pid_offset,
                camid=camid,
            )
        )
    return tracklets


def _camid(frame: str) -> int | None:
    """Camera of a frame's path: the third part of its name.

    >>> _camid("tracklet_test/0001/0001_02_05_000123.jpg")
    5
    """
    parts = posixpath.basename(frame).split("_")
    return int(parts[2]) if len(parts) >= 4 and parts[2].isdecimal() else None


def _read_queries(path: Path, test: Sequence[Tracklet]) -> npt.NDArray[np.int64]:
    """Rows of the test list that are queries, after the table in the same file was held against the list."""
    table, query_rows = read_lsvid_info(path)
    problems = []
    if len(table) != len(test):
        problems.append(f"{path.name} has {len(table):,} tracklets, the test list has {len(test):,}")
    else:
        cameras = np.array([t.camid for t in test])
        wrong = np.flatnonzero(table[:, 3] != cameras)
        if len(wrong):
            row = wrong[0]
            problems.append(
                f"{path.name}: {len(wrong):,} rows have a camera that the file names contradict, first row {row + 1}: "
                f"camera {table[row, 3]}, but {test[row].name} is camera {cameras[row]}"
            )
        # The table may number people in its own way; only who is the same person as who has to agree.
        pairs = {(t.pid, person) for t, person in zip(test, table[:, 2].tolist(), strict=True)}
        if not len(pairs) == len({pid for pid, _ in pairs}) == len({person for _, person in pairs}):
            problems.append(f"{path.name} groups the tracklets into other people than the test list")
    if len(set(query_rows.tolist())) < len(query_rows):
        problems.append(f"{path.name} names a query twice")
    raise_problems(f"LS-VID metadata {path}", problems, _REMEDY)
    return query_rows


LSVID = Reader(
    name="lsvid",
    markers="list_sequence/list_seq_test.txt and tracklet_test/",
    inner_folders=("list_sequence", "tracklet_train", "tracklet_test", "test"),
    read=lambda root, split, direction: read_lsvid(root, split=split),
    published=LSVID_PUBLISHED,
)
