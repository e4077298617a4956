"""Files that are damaged, hostile or merely odd: each is read right, or refused by one clear error.

Every case runs in a process of its own kind, with what it may cost measured: a crash, a traceback, a word on standard
error, a gigabyte or a minute is a failure. `make test-slow`; what one run found stands in docs/security.md.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.miniature import (
    DEFAULT_ROWS,
    write_folder_tree,
    write_ilids_vid,
    write_lsvid,
    write_manifest,
    write_mars,
    write_prid2011,
)
from intraclip.core.media import read_picture
from intraclip.core.video import writing_video
from intraclip.data.check import check_dataset
from intraclip.data.frames import read_tracklet_frame, read_tracklet_frame_into
from intraclip.data.pack.format import PackSettings
from intraclip.data.pack.opened import forget_pack
from intraclip.data.pack.write import write_pack
from intraclip.data.readers import num_splits, read_split
from intraclip.errors import IntraclipError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.mot import read_mot
from intraclip.ingest.sources import find_videos, open_source
from intraclip.types import Tracklet

MAX_SECONDS = 30.0  # of one case; a hang, not a speed, is what this finds
MAX_GROWTH = 1 << 30  # bytes of memory beyond what the first cases needed

LIBTIFF = ("tempfile.tif: ", "LZWDecode: ", "JPEGLib: ", "TIFF")

Case = Callable[[Path, np.random.Generator], None]
"""Makes something hostile in a new folder and reads it."""

TOKENS = (
    "", " ", "nan", "-inf", "1e400", "-0", "0", "-1", "1.5", "1e3", "99999999999999999999", "9" * 5000, "0x10", "\0",
    "\n", '"', "'", ",", ";", "\t", "../../etc", "/dev/zero", "a" * 70_000, "\ufeff", "\u202e", "é", "=1+1", "[b]",
    "[/]", "%s%n", "${HOME}", "[[[[" * 500, "true", "None", "1_000", "１２",
)  # fmt: skip


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with flips, cuts, repetitions, or runs of one value."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if not out:
            break
        place = int(rng.integers(len(out)))
        kind = rng.integers(6)
        length = int(rng.integers(1, 1 + max(1, len(out) // 4)))
        if kind <= 1:
            out[place] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            out[place : place + 4] = int(rng.integers(2**32)).to_bytes(4, "big")
        elif kind == 3:
            del out[place:]
        elif kind == 4:
            out[place:place] = out[place : place + length] * int(rng.integers(1, 4))
        else:
            out[place : place + length] = bytes([int(rng.choice([0, 0x7F, 0xFF]))]) * min(
                length, len(out) - place
            )
    return bytes(out)


# -- kinds -------------------------------------------------------------------------------------------------


def pictures() -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    colour = Image.fromarray(cv2.resize(rng.integers(0, 256, (8, 6, 3), np.uint8), (48, 64)))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [
        ("jpg", colour, {"quality": 90, "exif": exif}),
        ("jpg", colour, {"progressive": True}),
        ("jpg", colour.convert("CMYK"), {}),
        ("jpg", colour.convert("L"), {}),
        ("png", colour, {"exif": exif}),
        ("png", colour.convert("P"), {"transparency": 3}),
        ("png", colour.convert("RGBA"), {}),
        ("webp", colour, {"exif": exif}),
        ("webp", colour, {"lossless": True}),
        ("tiff", colour, {"compression": "tiff_lzw", "exif": exif}),
        ("tiff", colour, {"compression": "jpeg"}),
        ("tiff", colour.convert("L"), {}),
        ("bmp", colour, {}),
        ("gif", colour, {}),
        ("ppm", colour, {}),
        ("jp2", colour, {}),
        ("avif", colour, {}),
    ]
    found = []
    for suffix, image, options in kinds:
        file = io.BytesIO()
        image.save(file, {"jpg": "JPEG", "jp2": "JPEG2000"}.get(suffix, suffix.upper()), **options)
        found.append((suffix, file.getvalue()))
    for suffix in ("png", "tiff"):
        deep = np.asarray(colour).astype(np.uint16) << 8
        found.append((suffix, cv2.imencode(f".{suffix}", deep)[1].tobytes()))
    return found


PICTURES = pictures()


def picture(folder: Path, rng: np.random.Generator) -> None:
    suffix, data = PICTURES[rng.integers(len(PICTURES))]
    name = f"a.{suffix}"
    (folder / name).write_bytes(damaged(data, rng))
    whole = read_picture(folder / name)
    assert whole.dtype == np.uint8
    assert whole.shape[2] == 3
    out = np.empty((64, 48, 3), np.uint8)
    read_tracklet_frame_into(Tracklet(name="t", root=folder, frames=(name,), pid=1, camid=1), 0, out)


def manifest(folder: Path, rng: np.random.Generator) -> None:
    rows = [{**row, "num_frames": 3, "start_s": 0.0, "end_s": 1.5} for row in DEFAULT_ROWS]
    root = write_manifest(folder, rows)
    path = root / "tracklets.csv"
    text = path.read_text()
    if rng.random() < 0.7:
        lines = text.splitlines()
        for _ in range(int(rng.integers(1, 4))):
            row = int(rng.integers(len(lines)))
            cells = lines[row].split(",")
            cells[int(rng.integers(len(cells)))] = str(rng.choice(np.array(TOKENS, dtype=object)))
            lines[row] = ",".join(cells)
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_bytes(damaged(text.encode(), rng))
    check_dataset(root).to_text()
    read_split(root)


def tables(folder: Path, rng: np.random.Generator) -> None:
    write = (write_mars, write_ilids_vid, write_prid2011, write_lsvid)[rng.integers(4)]
    root = write(folder / "set")
    files = [f for f in sorted(root.rglob("*")) if f.suffix in (".mat", ".txt", ".json", ".gz")]
    if files:
        path = files[rng.integers(len(files))]
        path.write_bytes(damaged(path.read_bytes(), rng))
    check_dataset(root).to_text()
    read_split(root)


def mot(folder: Path, rng: np.random.Generator) -> None:
    lines = [f"{f},{i},{8 * f},{20 * i},24,48,0.{f},-1,-1,-1" for f in range(1, 9) for i in (1, 2)]
    for _ in range(int(rng.integers(1, 4))):
        row = int(rng.integers(len(lines)))
        cells = lines[row].split(",")
        cells[int(rng.integers(len(cells)))] = str(rng.choice(np.array(TOKENS, dtype=object)))
        lines[row] = ",".join(cells)
    data = "\n".join(lines).encode()
    (folder / "t.txt").write_bytes(data if rng.random() < 0.7 else damaged(data, rng))
    file = read_mot(folder / "t.txt").inside(height=100, width=100).within(8, Path("v.mp4"))
    assert np.isfinite(file.boxes).all()
    assert ((file.score >= 0) & (file.score <= 1)).all()


def everything(root: Path) -> list[object]:
    forget_pack(root)
    split = read_split(root)
    found: list[object] = [split.dataset, split.protocol, num_splits(root)]
    for name, tracklets in (("train", split.train), ("query", split.query), ("gallery", split.gallery)):
        found += [
            (
                name,
                t.name,
                t.pid,
                t.camid,
                t.frames,
                [read_tracklet_frame(t, i).tobytes() for i in range(len(t))],
            )
            for t in tracklets
        ]
    return found


def pack(folder: Path, rng: np.random.Generator) -> None:
    which = ("keep", "raw", "jpeg", "old")[rng.integers(4)]
    root = folder / "pack"
    if which == "old":
        shutil.copytree(Path(__file__).with_name("old") / "pack-v1-keep", root)
    else:
        write_pack(
            write_folder_tree(folder / "set", frames=2),
            root,
            settings=PackSettings(frames=which, height=6, width=5),
        )
    whole = everything(root)
    path = sorted(root.iterdir())[rng.integers(len(list(root.iterdir())))]
    path.write_bytes(damaged(path.read_bytes(), rng))
    try:
        found = everything(root)
    finally:
        forget_pack(root)
    assert found == whole


def videos(folder: Path) -> list[tuple[str, bytes]]:
    found = []
    with_codec = [("mp4", "mp4v"), ("avi", "MJPG"), ("mkv", "mp4v")]
    rng = np.random.default_rng(0)
    for suffix, codec in with_codec:
        path = folder / f"whole.{suffix}"
        with writing_video(path, codec=codec, fps=10, width=64, height=48) as writer:
            for _ in range(12):
                writer.write(cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48)))
        found.append((suffix, path.read_bytes()))
        path.unlink()
    return found


VIDEOS: list[tuple[str, bytes]] = []


def video(folder: Path, rng: np.random.Generator) -> None:
    if not VIDEOS:
        VIDEOS.extend(videos(folder))
    suffix, data = VIDEOS[rng.integers(len(VIDEOS))]
    (folder / f"cam1.{suffix}").write_bytes(damaged(data, rng))
    source = open_source(find_videos([folder])[0], IngestConfig())
    source.probe(4)
    for frame in source.frames():
        assert frame.image.dtype == np.uint8
        assert np.isfinite(frame.time_s)


def frame_folder(folder: Path, rng: np.random.Generator) -> None:
    suffix, data = PICTURES[rng.choice([0, 4, 7])]
    for number in range(1, 7):
        (folder / f"{number:06d}.{suffix}").write_bytes(data if rng.random() < 0.6 else damaged(data, rng))
    odd = ("._000001.jpg", ".DS_Store", f"{10**60}.jpg", "x.jpg", "000001.png", os.fsdecode(b"\xe9 7.jpg"))
    (folder / odd[rng.integers(len(odd))]).write_bytes(data)
    ini = f"[Sequence]\nframeRate={rng.choice(np.array(TOKENS, dtype=object))}\nimDir=.\n"
    if rng.random() < 0.5:
        (folder / "seqinfo.ini").write_bytes(
            ini.encode() if rng.random() < 0.5 else damaged(ini.encode(), rng)
        )
    source = open_source(folder, IngestConfig())
    for frame in source.frames():
        assert np.isfinite(frame.time_s)
    assert all(source.notes)


KINDS: dict[str, tuple[Case, int]] = {
    "pictures": (picture, 600),
    "manifests": (manifest, 200),
    "tables of data sets": (tables, 160),
    "files of tracks": (mot, 300),
    "packs": (pack, 200),
    "videos": (video, 200),
    "folders of frames": (frame_folder, 140),
}


# -- the trial ---------------------------------------------------------------------------------------------


def run_cases(kind: str, first: int, count: int, folder: Path, told: Path) -> None:
    """In a process of its own: outcomes go to `told`, a line a case, so that a crash shows where it was."""
    case = KINDS[kind][0]
    quiet = os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(quiet, 2)
    os.dup2(quiet, 1)
    with told.open("a", buffering=1) as file:
        for seed in range(first, first + count):
            place = folder / f"{seed}"
            place.mkdir()
            before = (folder / "stderr").stat().st_size
            started = time.perf_counter()
            try:
                case(place, np.random.default_rng([31, *kind.encode(), seed]))
                outcome, said = "read", ""
            except IntraclipError as error:
                outcome, said = "refused", str(error)
            except BaseException as error:
                outcome, said = "traceback", f"{type(error).__name__}: {error}"
            spent = time.perf_counter() - started
            shutil.rmtree(place, ignore_errors=True)
            noise = (folder / "stderr").read_bytes()[before:].decode(errors="replace")
            # The libtiff inside Pillow writes about damaged TIFFs, and has no switch.
            if any(not line.startswith(LIBTIFF) for line in noise.splitlines()):
                outcome, said = "noise", noise
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            file.write(json.dumps([seed, outcome, spent, memory, said[:300]]) + "\n")


def trial(kind: str, count: int, folder: Path) -> Iterator[tuple[int, str, float, int, str]]:
    told = folder / "told"
    told.touch()
    context = multiprocessing.get_context("fork")
    done = 0
    while done < count:
        process = context.Process(target=run_cases, args=(kind, done, count - done, folder, told))
        process.start()
        process.join(600)
        if process.is_alive():
            process.kill()
            process.join()
        lines = [json.loads(line) for line in told.read_text().splitlines()]
        if process.exitcode and len(lines) < count:
            lines.append([len(lines), "crash", 0.0, 0, f"exit code {process.exitcode}"])
            told.write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = len(lines)
    yield from (tuple(line) for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_files_are_read_right_or_refused_by_one_error(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    found = list(trial(kind, KINDS[kind][1], tmp_path))
    outcomes = Counter(outcome for _, outcome, *_ in found)
    growth = max(memory for *_, memory, _ in found) - found[4][3]
    slowest = max(spent for _, _, spent, *_ in found)
    with capsys.disabled():
        print(
            f"\n{kind}: {len(found)} cases, {dict(outcomes)}, slowest {slowest:.2f} s, {growth / 2**20:.0f} MiB more"
        )
    wrong = [
        (seed, outcome, said) for seed, outcome, _, _, said in found if outcome not in ("read", "refused")
    ]
    assert not wrong, wrong[:10]
    assert growth < MAX_GROWTH
    assert slowest < MAX_SECONDS
