"""Names, folders and tables of MARS, iLIDS-VID and PRID-2011, imitated so that their readers work unchanged."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.studio.config import BenchmarkConfig
from intraclip.studio.randomness import Kind, generator
from intraclip.studio.tracklet import TrackletPlan
from intraclip.types import DISTRACTOR_PID, JUNK_PID

DISTRACTORS_FROM = 100_000
"""True identities of distractors begin here."""

JUNK_FROM = 200_000
"""True identities near junk boxes begin here."""

SPLITS = 10
"""Number of random splits of iLIDS-VID and PRID-2011."""


def plan_tracklets(config: BenchmarkConfig) -> list[TrackletPlan]:
    """Every tracklet of a benchmark, in the order of its tables."""
    return _plan_mars(config) if config.layout == "mars" else _plan_pairs(config, *_PAIRS[config.layout])


def write_tables(root: Path, config: BenchmarkConfig, plans: Sequence[TrackletPlan]) -> None:
    """Write the tables of the layout."""
    if config.layout == "mars":
        _write_mars(root, plans)
    elif config.layout == "ilids-vid":
        _write_ilids(root, config)
    else:
        _write_prid(root, config)


# -- MARS --------------------------------------------------------------------------------------------------


def _plan_mars(config: BenchmarkConfig) -> list[TrackletPlan]:
    half = config.identities // 2
    train = [plan for pid in range(1, half + 1) for plan in _mars_person(config, pid, test=False)]
    test = [
        plan
        for pid in range(half + 1, config.identities + 1)
        for plan in _mars_person(config, pid, test=True)
    ]
    distractors = round(0.1 * len(test)) if config.distractors is None else config.distractors
    junk = round(0.05 * len(test)) if config.junk is None else config.junk
    extras = [
        *_mars_others(config, JUNK_PID, JUNK_FROM, junk),
        *_mars_others(config, DISTRACTOR_PID, DISTRACTORS_FROM, distractors),
    ]
    return [*train, *extras, *test]


def _mars_person(config: BenchmarkConfig, pid: int, *, test: bool) -> list[TrackletPlan]:
    rng = generator(config.seed, Kind.SCHEDULE, pid)
    seen = 2 + int(rng.binomial(config.cameras - 2, 0.6))
    cameras = sorted(int(c) + 1 for c in rng.choice(config.cameras, seen, replace=False))
    plans = []
    low, high = config.tracklets_per_camera
    for camid in cameras:
        count = int(rng.integers(low, high + 1))
        query = int(rng.integers(0, count))
        for index in range(count):
            frames = int(rng.integers(config.frames[0], config.frames[1] + 1))
            brief = 2 + int(rng.integers(0, 2))
            if rng.random() < config.difficulty.short and test and index != query:
                frames = brief
            split = "train" if not test else "query" if index == query else "gallery"
            plans.append(_mars_plan(pid, pid, camid, index, index + 1, frames, split))
    return plans


def _mars_others(config: BenchmarkConfig, pid: int, first: int, count: int) -> list[TrackletPlan]:
    """Distractors or junk, ordered by camera; the first one is as short as tracklets of MARS get."""
    drawn = []
    for i in range(count):
        rng = generator(config.seed, Kind.SCHEDULE, first + i)
        camid = int(rng.integers(1, config.cameras + 1))
        frames = int(rng.integers(config.frames[0], config.frames[1] + 1))
        drawn.append((camid, first + i, 2 if i == 0 and config.difficulty.short > 0 else frames))
    number: Counter[int] = Counter()
    plans = []
    for camid, identity, frames in sorted(drawn):
        number[camid] += 1
        plans.append(_mars_plan(pid, identity, camid, 0, number[camid], frames, "gallery"))
    return plans


def _mars_plan(
    pid: int, identity: int, camid: int, index: int, number: int, frames: int, split: str
) -> TrackletPlan:
    folder = "00-1" if pid == JUNK_PID else f"{pid:04d}"
    name = f"{folder}C{camid}T{number:04d}"
    top = "bbox_train" if split == "train" else "bbox_test"
    files = tuple(f"{top}/{folder}/{name}F{frame:03d}.jpg" for frame in range(1, frames + 1))
    return TrackletPlan(
        name=name,
        pid=pid,
        identity=identity,
        camid=camid,
        index=index,
        frames=frames,
        files=files,
        split=split,
    )


def _write_mars(root: Path, plans: Sequence[TrackletPlan]) -> None:
    info = root / "info"
    info.mkdir(parents=True, exist_ok=True)
    groups = {
        "train": [plan for plan in plans if plan.split == "train"],
        "test": [plan for plan in plans if plan.split != "train"],
    }
    for part, tracklets in groups.items():
        names = [Path(file).name for plan in tracklets for file in plan.files]
        # The published lists end their lines like this; readers must cope with it.
        (info / f"{part}_name.txt").write_bytes("".join(f"{name}\r\n" for name in names).encode())
        last = np.cumsum([plan.frames for plan in tracklets])
        table = np.array(
            [
                [end - plan.frames + 1, end, plan.pid, plan.camid]
                for end, plan in zip(last, tracklets, strict=True)
            ],
            dtype=np.int32,
        )
        _save_mat(info / f"tracks_{part}_info.mat", f"track_{part}_info", table)
    queries = [i for i, plan in enumerate(groups["test"], start=1) if plan.split == "query"]
    _save_mat(info / "query_IDX.mat", "query_IDX", np.array([queries], dtype=np.uint16))


# -- iLIDS-VID and PRID-2011 -------------------------------------------------------------------------------


_PAIRS = {
    "ilids-vid": (
        "cam{camid}_person{pid:03d}",
        "i-LIDS-VID/sequences/cam{camid}/person{pid:03d}/cam{camid}_person{pid:03d}_{frame:05d}.png",
    ),
    "prid2011": (
        "cam_{letter}_person_{pid:04d}",
        "prid_2011/multi_shot/cam_{letter}/person_{pid:04d}/{frame:04d}.png",
    ),
}
"""Layout -> formats of a tracklet's name and of a frame's file."""


def _plan_pairs(config: BenchmarkConfig, name: str, file: str) -> list[TrackletPlan]:
    """Everybody in both cameras."""
    plans = []
    for camid, letter in ((1, "a"), (2, "b")):
        for pid in range(1, config.identities + 1):
            rng = generator(config.seed, Kind.SCHEDULE, pid, camid)
            frames = int(rng.integers(config.frames[0], config.frames[1] + 1))
            own = {"pid": pid, "camid": camid, "letter": letter}
            plans.append(
                TrackletPlan(
                    name=name.format(**own),
                    pid=pid,
                    identity=pid,
                    camid=camid,
                    index=0,
                    frames=frames,
                    files=tuple(file.format(**own, frame=frame) for frame in range(1, frames + 1)),
                    split="all",
                )
            )
    return plans


def _write_ilids(root: Path, config: BenchmarkConfig) -> None:
    folder = root / "train-test people splits"
    folder.mkdir(parents=True, exist_ok=True)
    rng = generator(config.seed, Kind.SPLIT)
    rows = [rng.permutation(config.identities) + 1 for _ in range(SPLITS)]
    _save_mat(folder / "train_test_splits_ilidsvid.mat", "ls_set", np.array(rows, dtype=np.uint16))


def _write_prid(root: Path, config: BenchmarkConfig) -> None:
    rng = generator(config.seed, Kind.SPLIT)
    splits = []
    for _ in range(SPLITS):
        people = [int(pid) + 1 for pid in rng.permutation(config.identities)]
        half = config.identities // 2
        splits.append(
            {
                "test": [f"person_{pid:04d}" for pid in sorted(people[half:])],
                "train": [f"person_{pid:04d}" for pid in sorted(people[:half])],
            }
        )
    (root / "splits_prid2011.json").write_text(json.dumps(splits, indent=4) + "\n")


def _save_mat(path: Path, name: str, table: npt.NDArray[np.int32] | npt.NDArray[np.uint16]) -> None:
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {name: table}, do_compression=True)
    # The first 116 bytes are free text in which scipy puts the time; the same seed must give the same bytes.
    text = b"MATLAB 5.0 MAT-file, written by intraclip".ljust(116)
    path.write_bytes(text + buffer.getvalue()[116:])
