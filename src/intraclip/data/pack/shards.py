"""One shard of a pack: read and encode its tracklets, write the file, and its record.

The record (a JSON file beside the shard) says that the shard is whole; an interrupted pack goes on after it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import simplejpeg
from safetensors import SafetensorError
from safetensors.numpy import save_file

from intraclip.core.files import file_digest, whole_file, write_json
from intraclip.core.other_pictures import is_ordinary_jpeg
from intraclip.data.frames import (
    Frame,
    encoded_frame,
    read_tracklet_frame,
    read_tracklet_frame_into,
    resize_frame,
)
from intraclip.data.pack.format import FORMAT, FORMAT_VERSION, PackSettings, index_digest
from intraclip.data.pack.opened import is_raw
from intraclip.errors import FrameError
from intraclip.types import Tracklet

OnUnreadable = Literal["stop", "skip"]

KEPT = "finished shards are kept, make room and run the same command again"

_BLOCK = 16  # frames between two signs of progress


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Work for one process: tracklets that go into one file."""

    path: Path
    tracklets: tuple[Tracklet, ...]
    settings: PackSettings
    on_unreadable: OnUnreadable

    @property
    def record(self) -> Path:
        """Written after the shard, and gone when the pack is finished."""
        return self.path.with_suffix(".json")

    @property
    def frames(self) -> int:
        """Number of frames."""
        return sum(map(len, self.tracklets))


_counter: Any = None  # frames done by all processes together
_tell: Callable[[], object] | None = None


def start_worker(counter: Any, tell: Callable[[], object] | None = None) -> None:
    """Prepare this process for `pack_shard`."""
    global _counter, _tell
    _counter, _tell = counter, tell


def _count(frames: int) -> None:
    with _counter.get_lock():
        _counter.value += frames
    if _tell is not None:
        _tell()


def pack_shard(shard: Shard) -> tuple[dict[str, Any], int]:
    """Write one shard and its record, unless they are there; returns the record and the frames packed."""
    record = _valid_record(shard)
    if record is not None:
        _count(shard.frames)
        return record, 0
    arrays: dict[str, Frame] = {}
    tracklets: list[dict[str, Any]] = []
    unreadable: list[dict[str, Any]] = []
    for tracklet in shard.tracklets:
        array, ends, failed = _pack_tracklet(tracklet, shard.settings, shard.on_unreadable)
        arrays[tracklet.name] = array
        stored = array.reshape(-1).data
        crcs = [zlib.crc32(stored[start:end]) for start, end in pairwise([0, *ends])]
        tracklets.append({"ends": ends, "crc32": zlib.crc32(stored), "frame_crc32": crcs})
        unreadable += [
            {"tracklet": tracklet.name, "frame": index, "reason": reason} for index, reason in failed.items()
        ]
    with whole_file(shard.path, kept=KEPT, also=(SafetensorError,)) as partial:
        # One entry only: safetensors writes several in random order, and equal packs shall be equal files.
        save_file(arrays, partial, metadata={"format": f"{FORMAT} {FORMAT_VERSION}"})
        offsets = _offsets(partial)
        record = {
            "bytes": partial.stat().st_size,
            "sha256": file_digest(partial),
            "tracklets": [
                {**entry, "offset": offsets[tracklet.name]}
                for entry, tracklet in zip(tracklets, shard.tracklets, strict=True)
            ],
            "unreadable": unreadable,
        }
    record["digest"] = index_digest(record)
    write_json(shard.record, record, kept=KEPT)
    return record, shard.frames


def _valid_record(shard: Shard) -> dict[str, Any] | None:
    """Record of a shard that an earlier run has finished; None when it has to be written (again)."""
    try:
        record: dict[str, Any] = json.loads(shard.record.read_text(encoding="utf-8"))
        if shard.path.stat().st_size != record["bytes"] or file_digest(shard.path) != record["sha256"]:
            return None
        if record["digest"] != index_digest(record):  # of an older version there is none: it is packed again
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A frame that was skipped then may have to stop the run now.
    return None if record["unreadable"] and shard.on_unreadable == "stop" else record


def _pack_tracklet(
    tracklet: Tracklet, settings: PackSettings, on_unreadable: OnUnreadable
) -> tuple[Frame, list[int], dict[int, str]]:
    """Stored array of a tracklet, end of each frame in its bytes, and reasons of unreadable frames."""
    raw = settings.frames == "raw"
    pixels = np.zeros((len(tracklet) if raw else 0, settings.height, settings.width, 3), dtype=np.uint8)
    parts: list[Frame] = []
    failed: dict[int, str] = {}
    for index in range(len(tracklet)):
        try:
            if raw:
                read_tracklet_frame_into(tracklet, index, pixels[index])
            else:
                parts.append(_encoded(tracklet, index, settings))
        except FrameError as error:
            if on_unreadable == "stop":
                raise
            failed[index] = error.reason
            if raw:
                pixels[index] = 0
            else:
                parts.append(_bytes_as_they_are(tracklet, index, settings))
        if index % _BLOCK == _BLOCK - 1:
            _count(_BLOCK)
    _count(len(tracklet) % _BLOCK)
    if raw:
        size = settings.height * settings.width * 3
        return pixels, [size * (index + 1) for index in range(len(tracklet))], failed
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return np.concatenate(parts), ends.tolist(), failed


def _encoded(tracklet: Tracklet, index: int, settings: PackSettings) -> Frame:
    """Bytes to store for a readable frame.

    A JPEG that has the wanted size already is stored as it is: encoding it again could only lose.
    """
    pixels = read_tracklet_frame(tracklet, index)
    if settings.frames == "keep":
        return encoded_frame(tracklet, index)
    if pixels.shape[:2] == (settings.height, settings.width) and not is_raw(tracklet.root):
        stored = encoded_frame(tracklet, index)
        if is_ordinary_jpeg(stored):
            return stored
    resized = np.ascontiguousarray(resize_frame(pixels, settings.height, settings.width))
    # Colour at half the resolution, as cameras and the published sets store it: a third faster to decode.
    data = simplejpeg.encode_jpeg(resized, quality=settings.quality, colorspace="RGB", colorsubsampling="420")
    return np.frombuffer(data, dtype=np.uint8)


def _bytes_as_they_are(tracklet: Tracklet, index: int, settings: PackSettings) -> Frame:
    """What is left of an unreadable frame: its bytes where bytes are kept, nothing otherwise."""
    if settings.frames == "keep":
        try:
            return encoded_frame(tracklet, index)
        except FrameError:
            pass  # the file is missing
    return np.empty(0, dtype=np.uint8)


def _offsets(path: Path) -> dict[str, int]:
    """Byte of a safetensors file at which each tensor begins: eight bytes of length, the header, the tensors."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {
        name: 8 + length + entry["data_offsets"][0]
        for name, entry in header.items()
        if name != "__metadata__"
    }
