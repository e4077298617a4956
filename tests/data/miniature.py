"""Tiny data sets in every layout: a few people, frames of 8 x 4 pixels. Each function returns the data set's root."""

import csv
import gzip
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image
from scipy.io import savemat

SPLIT_FOLDER = "train-test people splits"
SPLIT_FILE = "train_test_splits_ilidsvid.mat"


def write_frame(path: Path, seed: int = 0) -> None:
    """One noisy frame, 8 pixels high and 4 wide; JPEG or PNG by its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    if path.suffix == ".jpg":
        path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorspace="RGB"))
    else:
        Image.fromarray(pixels).save(path)


def mars_name(pid: int, camid: int, tracklet: int, frame: int) -> str:
    """File name of a MARS frame; junk (pid -1) is called 00-1."""
    person = "00-1" if pid == -1 else f"{pid:04d}"
    return f"{person}C{camid}T{tracklet:04d}F{frame:03d}.jpg"


def write_mars(
    root: Path,
    *,
    train_pids: Sequence[int] = (1, 3),
    test_pids: Sequence[int] = (2, 4),
    cameras: Sequence[int] = (1, 2, 3),
    frames: int = 4,
    compressed_names: bool = False,
    images: bool = True,
) -> Path:
    """MARS: a tracklet a person and camera; in the test half also one junk and one distractor tracklet.

    Queries are the tracklets of each test pid in the first two cameras. Tracklets have `frames` frames, that of the
    first test pid in the first camera one more.
    """
    info = root / "info"
    info.mkdir(parents=True, exist_ok=True)
    halves = {
        "train": [(pid, camid) for pid in train_pids for camid in cameras],
        "test": [(-1, 1), (0, 2), *((pid, camid) for pid in test_pids for camid in cameras)],
    }
    for half, tracklets in halves.items():
        names: list[str] = []
        rows = []
        for pid, camid in tracklets:
            length = frames + ((pid, camid) == (test_pids[0], cameras[0]))
            first = len(names) + 1
            names += [mars_name(pid, camid, 1, frame + 1) for frame in range(length)]
            rows.append((first, len(names), pid, camid))
        text = "".join(f"{name}\n" for name in names)
        if compressed_names:
            (info / f"{half}_name.txt.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (info / f"{half}_name.txt").write_text(text)
        savemat(info / f"tracks_{half}_info.mat", {f"track_{half}_info": np.array(rows, dtype=np.int32)})
        if images:
            for i, name in enumerate(names):
                write_frame(root / f"bbox_{half}" / name[:4] / name, seed=i)
    queries = [i + 1 for i, (pid, camid) in enumerate(halves["test"]) if pid > 0 and camid in cameras[:2]]
    savemat(info / "query_IDX.mat", {"query_IDX": np.array([queries], dtype=np.uint16)})
    return root


def write_ilids_vid(
    root: Path,
    *,
    pids: Sequence[int] = (1, 2, 5, 9),
    frames: int = 3,
    splits: Sequence[Sequence[int]] = ((3, 1, 4, 2), (1, 2, 3, 4)),
) -> Path:
    """iLIDS-VID: `splits` are permutations of 1 .. len(pids). Frame numbers run over 9 to 10 without leading zeros."""
    for camid in (1, 2):
        for pid in pids:
            folder = root / "i-LIDS-VID" / "sequences" / f"cam{camid}" / f"person{pid:03d}"
            for frame in range(frames):
                write_frame(folder / f"cam{camid}_person{pid:03d}_{frame + 8}.png", seed=pid)
    (root / SPLIT_FOLDER).mkdir(parents=True, exist_ok=True)
    savemat(root / SPLIT_FOLDER / SPLIT_FILE, {"ls_set": np.array(splits, dtype=np.uint16)})
    return root


def write_prid2011(
    root: Path,
    *,
    pids: Sequence[int] = (1, 2, 3, 4),
    frames: int | Mapping[int, int] = 27,
    only_in_a: Sequence[int] = (201,),
    splits: Iterable[Mapping[str, Sequence[str]]] | None = None,
) -> Path:
    """PRID-2011: `frames` may differ by pid; `splits` become `splits_prid2011.json`."""
    for camera, people in (("cam_a", [*pids, *only_in_a]), ("cam_b", pids)):
        for pid in people:
            folder = root / "prid_2011" / "multi_shot" / camera / f"person_{pid:04d}"
            length = frames if isinstance(frames, int) else frames.get(pid, 27)
            # One picture copied: the reader looks at names alone, and PNG writing is the slow part.
            write_frame(folder / "0001.png", seed=pid)
            for frame in range(1, length):
                shutil.copyfile(folder / "0001.png", folder / f"{frame + 1:04d}.png")
    if splits is not None:
        (root / "splits_prid2011.json").write_text(json.dumps(list(splits)))
    return root


def write_lsvid(
    root: Path,
    *,
    train_pids: Sequence[int] = (0, 1),
    test_pids: Sequence[int] = (0, 1),
    cameras: Sequence[int] = (1, 15),
    frames: int = 3,
    train_list: bool = True,
) -> Path:
    """LS-VID, with an info_test.mat of MATLAB's older format; the first tracklet of each test pid is a query."""
    (root / "list_sequence").mkdir(parents=True, exist_ok=True)
    (root / "test" / "data").mkdir(parents=True, exist_ok=True)
    rows = []
    for half, pids in (("train", train_pids), ("test", test_pids)):
        lines = []
        for pid in pids:
            for number, camid in enumerate(cameras, start=1):
                prefix = f"tracklet_{half}/{pid:04d}/{pid:04d}_{number}_{camid:02d}"
                lines.append(f"{prefix} {pid}\n")
                for frame in range(frames):
                    write_frame(root / f"{prefix}_{frame + 1:06d}.jpg", seed=pid)
                if half == "test":
                    rows.append((len(rows) * frames + 1, (len(rows) + 1) * frames, pid, camid))
        if half == "test" or train_list:
            (root / "list_sequence" / f"list_seq_{half}.txt").write_text("".join(lines))
    queries = np.arange(0, len(rows), len(cameras), dtype=np.uint16)[:, None] + 1
    savemat(
        root / "test" / "data" / "info_test.mat",
        {"info_test": np.array(rows, dtype=np.int32), "query": queries},
    )
    return root


def write_folder_tree(
    root: Path,
    *,
    train_pids: Sequence[int] = (1, 2),
    test_pids: Sequence[int] = (3, 4),
    cameras: Sequence[int] = (1, 2),
    frames: int = 3,
    pid_prefix: str = "",
    cam_prefix: str = "",
) -> Path:
    """A tree of folders: training people in all cameras, test people as queries in the first, gallery in the others."""
    groups = [("train", pid, camid) for pid in train_pids for camid in cameras]
    groups += [
        ("query" if camid == cameras[0] else "gallery", pid, camid) for pid in test_pids for camid in cameras
    ]
    for subset, pid, camid in groups:
        folder = root / subset / f"{pid_prefix}{pid}" / f"{cam_prefix}{camid}" / "t1"
        for frame in range(frames):
            write_frame(folder / f"{frame + 8}.jpg", seed=pid)
    return root


DEFAULT_ROWS = (
    {"tracklet": "a1", "pid": 1, "camid": 1, "subset": "train"},
    {"tracklet": "a2", "pid": 1, "camid": 2, "subset": "train"},
    {"tracklet": "q1", "pid": 2, "camid": 1, "subset": "query"},
    {"tracklet": "g1", "pid": 2, "camid": 2, "subset": "gallery"},
    {"tracklet": "u1", "pid": "", "camid": 2, "subset": ""},
)


def write_manifest(
    root: Path,
    rows: Sequence[Mapping[str, object]] = DEFAULT_ROWS,
    *,
    frames: int = 3,
    images: bool = True,
) -> Path:
    """A manifest `tracklets.csv`; rows without a folder get ``tracklets/<tracklet>`` and `frames` frames there."""
    root.mkdir(parents=True, exist_ok=True)
    columns = ["tracklet", "folder", "pid", "camid", "subset"]
    columns += [name for row in rows for name in row if name not in columns]
    with (root / "tracklets.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(columns)), restval="")
        writer.writeheader()
        for i, row in enumerate(rows):
            folder = row.get("folder", f"tracklets/{row['tracklet']}")
            writer.writerow({**row, "folder": folder})
            if images and "folder" not in row:
                for frame in range(frames):
                    write_frame(root / str(folder) / f"{frame + 998:03d}.jpg", seed=i)
    return root
