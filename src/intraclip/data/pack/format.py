"""Open a pack and find frames in it. No decoding here: `intraclip.data.frames` does that."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from intraclip.core.files import file_digest
from intraclip.core.settings import bounded
from intraclip.data.pack.opened import INDEX, UNFINISHED
from intraclip.errors import DataError, FrameError
from intraclip.types import Tracklet

FORMAT = "intraclip-pack"
FORMAT_VERSION = 1
TABLES = "tables.safetensors"

REMEDY = "copy the pack again, or pack the data set into a new folder"
"""What to do about a file that is not as it was written."""

Kind = Literal["keep", "jpeg", "raw"]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """How frames are stored.

    Attributes:
        frames: ``keep``: the files' bytes, untouched. ``jpeg``: resized and encoded again. ``raw``: resized pixels,
            which need no decoding.
        height: of the stored frames, in pixels; ``keep`` ignores it.
        width: of the stored frames, in pixels; ``keep`` ignores it.
        quality: of ``jpeg``, 1 to 100.
    """

    frames: Kind = "keep"
    height: int = bounded(256, 1)
    width: int = bounded(128, 1)
    quality: int = bounded(95, 1, 100)

    def to_json_dict(self) -> dict[str, Any]:
        """What the index says about frames: only the values that were used."""
        size = {} if self.frames == "keep" else {"height": self.height, "width": self.width}
        quality = {"quality": self.quality} if self.frames == "jpeg" else {}
        return {"kind": self.frames, **size, **quality}


class Pack:
    """A finished pack.

    Shards are mapped when the first frame of them is wanted, read-only and by each process for itself, so any number
    of workers reads without locks. A pickled pack is only its folder.

    Attributes:
        tables: arrays of the tables file. ``N`` tracklets have ``M`` frames: ``first_frame`` int64 ``[N + 1]``;
            ``pids``, ``camids``, ``shard``, ``offset`` (bytes into the shard's file) and ``crc32`` int64 ``[N]``;
            ``ends`` int64 ``[M]`` (end of a frame, bytes after its tracklet's offset) and ``frame_crc32`` int64
            ``[M]`` (absent in the first packs); ``split/<n>/<subset>`` int64, numbers of
            tracklets.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index = read_index(root)
        _require_benchmark(root, self.index)
        self.tables, self.names, self.frames = _read_tables(root, self.index)
        self.kind: Kind = self.index["frames"]["kind"]
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._unreadable = {
            (int(entry["number"]), int(entry["frame"])): str(entry["reason"])
            for entry in self.index["unreadable"]
        }
        self._maps: list[Bytes | None] = [None] * len(self.index["shards"])
        # Plain lists: reading one number out of an array costs several times as much.
        self._first, self._shard, self._offset, self._ends = (
            self.tables[key].tolist() for key in ("first_frame", "shard", "offset", "ends")
        )
        # What is read is compared with its checksum, once a process: a frame, or in old packs its whole tracklet.
        by_frame = self.tables.get("frame_crc32")
        self._frame_crc32: list[int] | None = None if by_frame is None else by_frame.tolist()
        self._seen_whole = bytearray(len(self.names) if by_frame is None else len(self.frames))

    def __reduce__(self) -> tuple[type[Pack], tuple[Path]]:
        return type(self), (self.root,)

    def __len__(self) -> int:
        """Number of tracklets."""
        return len(self.names)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of every frame; None where frames are kept as they were."""
        stored = self.index["frames"]
        return None if self.kind == "keep" else (int(stored["height"]), int(stored["width"]))

    def warn_if_enlarged(self, height: int, width: int) -> None:
        """Warn where frames are smaller than what is wanted of them."""
        stored = self.size or (height, width)
        if stored[0] < height or stored[1] < width:
            warnings.warn(
                f"frames of the pack {self.root} are {stored[0]} x {stored[1]}, and are enlarged to "
                f"{height} x {width}; pack the data set again at that size",
                stacklevel=4,
            )

    def tracklet(self, number: int) -> Tracklet:
        """Tracklet `number`, with the frame names of the original."""
        return Tracklet(
            name=self.names[number],
            root=self.root,
            frames=tuple(self.frames[self._first[number] : self._first[number + 1]]),
            pid=int(self.tables["pids"][number]),
            camid=int(self.tables["camids"][number]),
        )

    def encoded(self, tracklet: Tracklet, index: int) -> Bytes:
        """Bytes of a frame as they are stored, uint8 ``[bytes]``, read-only and not copied.

        Raises:
            FrameError: the pack holds raw pixels, has no such frame, could not read it, or is damaged.
            DataError: a shard is missing or was cut short.
        """
        if self.kind == "raw":
            raise FrameError(tracklet.frame_path(index), "the pack holds raw pixels, no encoded frames")
        return self._stored(tracklet, index)

    def pixels(self, tracklet: Tracklet, index: int) -> Bytes:
        """Pixels of a frame of a raw pack, uint8 ``[H, W, 3]`` RGB, read-only and not copied."""
        height, width = self.size or (0, 0)
        pixels: Bytes = self._stored(tracklet, index).reshape(height, width, 3)
        return pixels

    def stored_bytes(self, tracklet: Tracklet, index: int) -> int:
        """Size of a frame in bytes as it is stored."""
        _, start, end, _ = self._place(tracklet, index)
        return end - start

    def _stored(self, tracklet: Tracklet, index: int) -> Bytes:
        number, start, end, frame = self._place(tracklet, index)
        if self._unreadable:
            reason = self._unreadable.get((number, frame - self._first[number]))
            if reason is not None:
                raise FrameError(tracklet.frame_path(index), f"unreadable when the pack was made: {reason}")
        shard = self._shard[number]
        mapped = self._maps[shard]
        if mapped is None:
            mapped = self._maps[shard] = _map_shard(self.root, self.index["shards"][shard])
        stored: Bytes = mapped[start:end]
        if not self._seen_whole[number if self._frame_crc32 is None else frame]:
            self._require_whole(mapped, stored, number, frame, tracklet.frame_path(index))
        return stored

    def _require_whole(self, mapped: Bytes, stored: Bytes, number: int, frame: int, path: Path) -> None:
        """Compare a frame, or in an old pack its tracklet, with the checksum that was taken when it was written."""
        if self._frame_crc32 is not None:
            whole = zlib.crc32(stored.data) == self._frame_crc32[frame]
        else:
            offset, last = self._offset[number], self._first[number + 1] - 1
            whole = zlib.crc32(mapped[offset : offset + self._ends[last]].data) == int(
                self.tables["crc32"][number]
            )
        if not whole:
            shard = self.root / str(self.index["shards"][self._shard[number]]["file"])
            raise FrameError(path, f"{shard} is damaged: its bytes are not those that were written; {REMEDY}")
        self._seen_whole[number if self._frame_crc32 is None else frame] = 1

    def _place(self, tracklet: Tracklet, index: int) -> tuple[int, int, int, int]:
        """Tracklet number, first and last byte in the shard's file, and number of the frame in the pack."""
        number = self._numbers.get(tracklet.name, -1)
        if number < 0:
            raise FrameError(tracklet.frame_path(index), f"the pack has no tracklet {tracklet.name}")
        first, last = self._first[number], self._first[number + 1]
        frame = first + index
        wanted = tracklet.frames[index]
        if not (first <= frame < last and self.frames[frame] == wanted):
            # A tracklet that somebody shortened or reordered: its frames are found by name.
            try:
                frame = self.frames.index(wanted, first, last)
            except ValueError:
                raise FrameError(
                    tracklet.frame_path(index), f"the pack has no such frame of tracklet {tracklet.name}"
                ) from None
        offset = self._offset[number]
        start = self._ends[frame - 1] if frame > first else 0
        return number, offset + start, offset + self._ends[frame], frame

    def __repr__(self) -> str:
        return f"Pack({len(self)} tracklets, {len(self.frames)} frames, {self.kind}, in {self.root})"


def read_index(root: Path) -> dict[str, Any]:
    """Content of a pack's index.

    Raises:
        DataError: the pack is not finished, of another format version, or the index is damaged.
    """
    path = root / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if (root / UNFINISHED).is_file():
            raise DataError(
                f"{root} is a pack that was not finished; run the same `intraclip data pack` command again, it "
                "continues where it stopped"
            ) from None
        raise DataError(f"{root} is no pack: {path} is missing") from None
    except (ValueError, OSError, RecursionError) as error:
        raise DataError(f"{path} cannot be read, it is damaged ({error}); {REMEDY}") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise DataError(f"{path} is no index of a pack, or damaged; {REMEDY}")
    if index.get("version") != FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {index.get('version')}, this intraclip reads {FORMAT_VERSION}; "
            "pack the data set again, or use the version of intraclip that wrote it"
        )
    if index.get("digest", "") not in ("", index_digest(index)):
        raise DataError(f"{path} is damaged: it is not as it was written; {REMEDY}")
    try:
        _check_index(index)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged ({_said(error)}); {REMEDY}") from None
    return index


def index_digest(index: Mapping[str, Any]) -> str:
    """SHA-256 of an index without its digest, however it is laid out. The first packs have none."""
    content = {key: value for key, value in index.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_index(index: Mapping[str, Any]) -> None:
    """Raise ValueError, TypeError or KeyError unless an index has all that is read of it."""
    stored = index["frames"]
    if stored["kind"] not in get_args(Kind):
        raise ValueError(f"frames are {stored['kind']!r}")
    whole = [index["tracklets"], index["num_frames"]]
    if stored["kind"] != "keep":
        whole += [stored["height"], stored["width"]]
    text = [index["dataset"], index["source"]["layout"], index["tables"]["sha256"]]
    for shard in index["shards"]:
        whole.append(shard["bytes"])
        text += [shard["file"], shard["sha256"]]
        if Path(shard["file"]).name != shard["file"]:
            raise ValueError(f"a shard is called {shard['file']!r}")
    for entry in index["splits"]:
        whole.append(entry["index"] + 1)
        text += [entry["protocol"], entry["direction"] or "-"]
    for entry in index["unreadable"]:
        whole += [entry["number"] + 1, entry["frame"] + 1]
        text += [entry["tracklet"], entry["reason"]]
    if "benchmark" in index:
        text += [index["benchmark"]["sha256"], index["benchmark"]["file"]]
    wrong = [value for value in whole if not isinstance(value, int) or value < 1]
    wrong += [value for value in text if not isinstance(value, str)]
    if wrong:
        raise ValueError(f"it holds {wrong[0]!r}")


def _require_benchmark(root: Path, index: Mapping[str, Any]) -> None:
    entry = index.get("benchmark")
    path = root / str(entry["file"]) if entry is not None else root
    if entry is not None and not (path.is_file() and file_digest(path) == entry["sha256"]):
        raise DataError(f"{path} is missing or damaged; {REMEDY}")


def _read_tables(
    root: Path, index: Mapping[str, Any]
) -> tuple[dict[str, npt.NDArray[Any]], list[str], list[str]]:
    path = root / TABLES
    if not path.is_file():
        raise DataError(f"{path} is missing; copy the whole pack, or pack the data set again")
    try:
        if file_digest(path) != index["tables"]["sha256"]:
            raise DataError(f"{path} is damaged, or does not belong to {root / INDEX}; {REMEDY}")
        tables = load_file(path)
        names, frames = (tables[key].tobytes().decode("utf-8").split("\0") for key in ("names", "frames"))
        _check_tables(tables, names, frames, index)
    except (SafetensorError, KeyError, OSError, ValueError, IndexError, TypeError) as error:
        raise DataError(f"{path} is damaged ({_said(error)}); {REMEDY}") from None
    return tables, names, frames


def _check_tables(
    tables: Mapping[str, npt.NDArray[Any]],
    names: Sequence[str],
    frames: Sequence[str],
    index: Mapping[str, Any],
) -> None:
    """Raise ValueError or KeyError unless every place that the tables name lies within the pack."""
    n, m = index["tracklets"], index["num_frames"]
    if (len(names), len(frames)) != (n, m) or len(set(names)) != n:
        raise ValueError(f"it names {len(names)} tracklets and {len(frames)} frames, the index {n} and {m}")
    lengths = {
        "first_frame": n + 1,
        "ends": m,
        **dict.fromkeys(("pids", "camids", "shard", "offset", "crc32"), n),
    }
    if "frame_crc32" in tables:
        lengths["frame_crc32"] = m
    for number in range(len(index["splits"])):
        for subset in ("train", "query", "gallery"):
            lengths[f"split/{number}/{subset}"] = len(tables[f"split/{number}/{subset}"])
    for key, length in lengths.items():
        if tables[key].dtype != np.int64 or tables[key].shape != (length,):
            raise ValueError(f"{key} is {tables[key].dtype} {list(tables[key].shape)}")
    first, ends, offset, shard = (tables[key] for key in ("first_frame", "ends", "offset", "shard"))
    members = np.concatenate([tables[key] for key in lengths if key.startswith("split/")])
    sizes = np.array([entry["bytes"] for entry in index["shards"]], dtype=np.int64)
    starts = np.zeros(m, dtype=np.int64)
    starts[1:] = ends[:-1]
    if first[0] != 0 or first[-1] != m or (np.diff(first) < 1).any():
        raise ValueError("first_frame does not divide the frames")
    starts[first[:-1]] = 0
    lowest = {"frames": ends - starts, "offset": offset, "shard": shard, "split": members}
    if (
        any((values < 0).any() for values in lowest.values())
        or (members >= n).any()
        or (shard >= len(sizes)).any()
    ):
        raise ValueError("a number in it is out of range")
    if (offset + ends[first[1:] - 1] > sizes[shard]).any():
        raise ValueError("a tracklet ends behind its shard")
    stored = index["frames"]
    if stored["kind"] == "raw" and (ends - starts != stored["height"] * stored["width"] * 3).any():
        raise ValueError(f"frames do not have {stored['height']} x {stored['width']} pixels")


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _map_shard(root: Path, shard: Mapping[str, Any]) -> Bytes:
    path = root / str(shard["file"])
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            # Touching a page behind the end of a file kills the process, so the length is looked at first.
            if size != shard["bytes"]:
                raise DataError(f"{path} has {size:,} bytes, the index says {shard['bytes']:,}; {REMEDY}")
            content: Bytes = np.frombuffer(
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8
            )
            return content
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}; {REMEDY}") from None
