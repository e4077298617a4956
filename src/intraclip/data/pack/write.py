"""Write a pack: shard by shard, so that what was interrupted goes on where it stopped."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from intraclip.core.files import file_digest, is_half_written, whole_file, write_json
from intraclip.core.folders import sweep
from intraclip.core.jobs import Job
from intraclip.core.locks import locked
from intraclip.core.processes import processes
from intraclip.core.progress import Progress
from intraclip.core.settings import problems
from intraclip.data.frames import Frame
from intraclip.data.pack.format import FORMAT, FORMAT_VERSION, TABLES, PackSettings, index_digest, read_index
from intraclip.data.pack.opened import INDEX, UNFINISHED, forget_pack, is_raw
from intraclip.data.pack.shards import KEPT, OnUnreadable, Shard, pack_shard, start_worker
from intraclip.data.pack.source import Source, read_source
from intraclip.data.readers.common import BENCHMARK_FILE
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.types import Tracklet

SHARD_BYTES = 64 << 20
MAX_SHARDS = 500
"""A mapped file holds a file descriptor, and a process usually has 1,024: very large sets get larger shards."""

_JPEG_BITS_A_PIXEL = 3
"""Generous. The size of an encoded shard is only known afterwards, and need not be exact."""


@dataclass(frozen=True, kw_only=True)
class PackSummary:
    """What `write_pack` wrote.

    Attributes:
        unreadable: frames that could not be read, with reasons.
        frames_written: frames that this call packed; fewer than `frames` after an interruption.
    """

    root: Path
    tracklets: int
    frames: int
    shards: int
    bytes: int
    splits: int
    unreadable: tuple[str, ...]
    frames_written: int
    seconds: float


def write_pack(
    root: Path,
    out: Path,
    *,
    settings: PackSettings | None = None,
    layout: str = "auto",
    on_unreadable: OnUnreadable = "stop",
    workers: int = 1,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> PackSummary:
    """Pack a data set with all of its splits; tracklets that splits share are stored once.

    Every frame is decoded once, also where its bytes are kept, so that damaged frames come to light here. Called
    again with the same arguments it continues an interrupted pack: shards whose checksum is right are kept.

    Args:
        root: the data set, as for `read_split`; may be a pack itself.
        out: folder of the pack; new, empty, or the same pack unfinished.
        settings: how frames are stored.
        layout: the data set's layout.
        on_unreadable: ``stop`` at a frame that cannot be read, or ``skip``: list it, and let readers of the pack
            meet it as they would in the folder.
        workers: processes that read and encode, each one shard at a time. A shard is held in memory twice.
        shard_bytes: size of a shard, about; a tracklet is never divided.
        progress: called as frames are done.

    Raises:
        ConfigError: a setting is out of range.
        DataError: the data set cannot be read, or has changed since the pack was begun.
        OutputError: `out` holds something else, or the disk is full; run again when there is room.
    """
    settings = settings or PackSettings()
    _check(settings, workers, shard_bytes)
    began = time.perf_counter()
    source = read_source(root, layout=layout)
    if settings.frames == "keep" and is_raw(source.tracklets[0].root):
        raise DataError(
            f"{source.root} is a pack of raw frames, it has no encoded ones to keep; pack jpeg or raw"
        )
    plan = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "frames": settings.to_json_dict(),
        "shard_bytes": shard_bytes,
        "source": {"layout": source.layout, "digest": source.digest},
    }
    if (out / INDEX).is_file():
        return _finished_before(out, plan, began)
    _begin(out, plan)
    shards = [
        Shard(
            path=out / f"shard-{number:05d}.safetensors",
            tracklets=tracklets,
            settings=settings,
            on_unreadable=on_unreadable,
        )
        for number, tracklets in enumerate(_divide(source, settings, shard_bytes))
    ]
    taken = f"another process is packing into {out}; wait for it, or choose another folder"
    with locked(out / UNFINISHED, taken=taken):
        if (out / INDEX).is_file():  # another process was at it, and has finished
            return _finished_before(out, plan, began)
        records, written = _pack_all(shards, workers, progress)
        _finish(out, plan, source, shards, records)
    forget_pack(out)
    return _summary(out, written, began)


# -- before ------------------------------------------------------------------------------------------------


def _check(settings: PackSettings, workers: int, shard_bytes: int) -> None:
    numbers = {"workers": workers, "shard_bytes": shard_bytes}
    wrong = [
        *problems(settings),
        *(f"{k}: {v} is too small, at least 1" for k, v in numbers.items() if v < 1),
    ]
    if wrong:
        raise ConfigError("this pack cannot be written:\n" + "\n".join(f"  {line}" for line in wrong))


def _begin(out: Path, plan: Mapping[str, Any]) -> None:
    """Make the folder, or see that it holds the beginning of this very pack."""
    job = Job(out / UNFINISHED, plan, out=out, anew=f"delete the folder {out} and pack again")
    if job.begun:
        _compare(out, job.read(), plan, state="begun")
        return
    if out.exists() and not (out.is_dir() and all(is_half_written(path) for path in out.iterdir())):
        raise OutputError(f"{out} is not empty and no pack; choose another folder for the pack")
    job.begin()


def _compare(out: Path, found: Mapping[str, Any], plan: Mapping[str, Any], *, state: str) -> None:
    if found.get("version") != FORMAT_VERSION:
        raise OutputError(f"{out} was {state} by another version of intraclip; choose another folder")
    different = [
        f"{key}: {found.get(key)} there, {plan[key]} now"
        for key in ("frames", "shard_bytes")
        if found.get(key) != plan[key]
    ]
    if different:
        raise OutputError(
            f"{out} was {state} with other settings; choose another folder. {'; '.join(different)}"
        )
    if found.get("source") != plan["source"]:
        raise DataError(
            f"the data set is not the one that the pack {out} was {state} from: files were added, removed or changed "
            "since, or it is another one; delete the pack and pack again, or choose another folder"
        )


def _finished_before(out: Path, plan: Mapping[str, Any], began: float) -> PackSummary:
    found = read_index(out)
    _compare(out, found, plan, state="written")
    _tidy(out, len(found["shards"]))
    return _summary(out, 0, began)


def _divide(source: Source, settings: PackSettings, shard_bytes: int) -> Iterator[tuple[Tracklet, ...]]:
    """Tracklets of each shard; depends on the source and the settings alone, so that a second run agrees."""
    if settings.frames == "keep":
        sizes = list(source.sizes)
    else:
        pixels = settings.height * settings.width
        frame = 3 * pixels if settings.frames == "raw" else _JPEG_BITS_A_PIXEL * pixels // 8
        sizes = [frame * len(tracklet) for tracklet in source.tracklets]
    limit = max(shard_bytes, sum(sizes) // MAX_SHARDS)
    chosen: list[Tracklet] = []
    filled = 0
    for tracklet, size in zip(source.tracklets, sizes, strict=True):
        if chosen and filled + size > limit:
            yield tuple(chosen)
            chosen, filled = [], 0
        chosen.append(tracklet)
        filled += size
    yield tuple(chosen)


# -- shards ------------------------------------------------------------------------------------------------


def _pack_all(
    shards: Sequence[Shard], workers: int, progress: Progress | None
) -> tuple[list[dict[str, Any]], int]:
    """Records of all shards, and the number of frames that were packed now."""
    total = sum(shard.frames for shard in shards)
    counter = multiprocessing.get_context("spawn").Value("q", 0)
    if workers == 1 or len(shards) == 1:
        tell = (lambda: progress(counter.value, total)) if progress else None
        start_worker(counter, tell)
        done = [pack_shard(shard) for shard in shards]
    else:
        count = min(workers, len(shards))
        with processes(count, doing="packs", begin=start_worker, given=(counter,)) as pool:
            futures = [pool.submit(pack_shard, shard) for shard in shards]
            _watch(futures, lambda: progress and progress(counter.value, total))
            done = [future.result() for future in futures]
    return [record for record, _ in done], sum(written for _, written in done)


def _watch(futures: Sequence[Future[Any]], tell: Callable[[], object]) -> None:
    """Wait for all, or for the first that fails."""
    left = set(futures)
    while left:
        finished, left = wait(left, timeout=0.25, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
        tell()


# -- afterwards --------------------------------------------------------------------------------------------


def _finish(
    out: Path,
    plan: Mapping[str, Any],
    source: Source,
    shards: Sequence[Shard],
    records: Sequence[Mapping[str, Any]],
) -> None:
    """Write the tables, then the index, whose presence says that all is there."""
    entries = [entry for record in records for entry in record["tracklets"]]
    lengths = [len(tracklet) for tracklet in source.tracklets]
    tables: dict[str, np.ndarray[Any, Any]] = {
        "names": _text(t.name for t in source.tracklets),
        "frames": _text(frame for t in source.tracklets for frame in t.frames),
        "first_frame": np.cumsum([0, *lengths], dtype=np.int64),
        "ends": np.array([end for entry in entries for end in entry["ends"]], dtype=np.int64),
        "pids": np.array([t.pid for t in source.tracklets], dtype=np.int64),
        "camids": np.array([t.camid for t in source.tracklets], dtype=np.int64),
        "shard": np.repeat(np.arange(len(shards)), [len(shard.tracklets) for shard in shards]),
        "offset": np.array([entry["offset"] for entry in entries], dtype=np.int64),
        "crc32": np.array([entry["crc32"] for entry in entries], dtype=np.int64),
        "frame_crc32": np.array([crc for entry in entries for crc in entry["frame_crc32"]], dtype=np.int64),
    }
    for number, entry in enumerate(source.splits):
        for subset, members in entry.members.items():
            tables[f"split/{number}/{subset}"] = np.array(members, dtype=np.int64)
    with whole_file(out / TABLES, kept=KEPT, also=(SafetensorError,)) as partial:
        save_file(tables, partial)
    tables_sha256 = file_digest(out / TABLES)
    numbers = {t.name: number for number, t in enumerate(source.tracklets)}
    index: dict[str, Any] = {
        **plan,
        "dataset": source.dataset,
        "tracklets": len(source.tracklets),
        "num_frames": sum(lengths),
        "splits": [
            {"index": entry.index, "direction": entry.direction, "protocol": entry.protocol}
            for entry in source.splits
        ],
        "shards": [
            {"file": shard.path.name, "bytes": record["bytes"], "sha256": record["sha256"]}
            for shard, record in zip(shards, records, strict=True)
        ],
        "tables": {"file": TABLES, "sha256": tables_sha256},
        "unreadable": [
            {**entry, "number": numbers[entry["tracklet"]]}
            for record in records
            for entry in record["unreadable"]
        ],
    }
    if source.benchmark is not None:
        with whole_file(out / BENCHMARK_FILE, kept=KEPT) as partial:
            partial.write_bytes(source.benchmark)
        index["benchmark"] = {"file": BENCHMARK_FILE, "sha256": hashlib.sha256(source.benchmark).hexdigest()}
    write_json(out / INDEX, {**index, "digest": index_digest(index)}, indent=1, kept=KEPT)
    _tidy(out, len(shards))


def _tidy(out: Path, shards: int) -> None:
    """Remove what only an unfinished pack needs."""
    for number in range(shards):
        (out / f"shard-{number:05d}.json").unlink(missing_ok=True)
    sweep(out)
    (out / UNFINISHED).unlink(missing_ok=True)


def _summary(out: Path, written: int, began: float) -> PackSummary:
    index = read_index(out)
    return PackSummary(
        root=out,
        tracklets=index["tracklets"],
        frames=index["num_frames"],
        shards=len(index["shards"]),
        bytes=sum(path.stat().st_size for path in out.iterdir()),
        splits=len({entry["index"] for entry in index["splits"]}),
        unreadable=tuple(
            f"{entry['tracklet']}, frame {entry['frame']}: {entry['reason']}" for entry in index["unreadable"]
        ),
        frames_written=written,
        seconds=round(time.perf_counter() - began, 3),
    )


def _text(parts: Iterable[str]) -> Frame:
    return np.frombuffer("\0".join(parts).encode("utf-8"), dtype=np.uint8)
