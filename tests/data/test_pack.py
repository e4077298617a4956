"""Packs hold exactly what the folder holds, and survive interruption, damage and full disks."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import SafetensorError, safe_open

from data.miniature import (
    write_folder_tree,
    write_frame,
    write_ilids_vid,
    write_lsvid,
    write_manifest,
    write_mars,
    write_prid2011,
)
from intraclip.core.media import read_picture
from intraclip.data.check import check_dataset
from intraclip.data.frames import encoded_frame, read_tracklet_frame, resize_frame
from intraclip.data.pack import shards as shards_module
from intraclip.data.pack import write as write_module
from intraclip.data.pack.format import TABLES, PackSettings
from intraclip.data.pack.opened import INDEX, UNFINISHED, forget_pack, open_pack, pack_of
from intraclip.data.pack.verify import verify_pack
from intraclip.data.pack.write import write_pack
from intraclip.data.readers import find_dataset, num_splits, read_split
from intraclip.data.readers.counts import PublishedCounts
from intraclip.errors import ConfigError, DataError, FrameError, OutputError
from intraclip.types import Split, Tracklet

WRITERS: dict[str, Callable[[Path], Path]] = {
    "mars": write_mars,
    "ilids-vid": write_ilids_vid,
    "prid2011": write_prid2011,
    "lsvid": write_lsvid,
    "manifest": write_manifest,
    "tree": write_folder_tree,
}
ONE_TRACKLET_A_SHARD = 1
SMALL_RAW = PackSettings(frames="raw", height=6, width=5)


def everything(split: Split) -> list[Tracklet]:
    return [*split.train, *split.test]


def moved(split: Split, root: Path) -> Split:
    """The split as it would be with all of its tracklets in `root`."""

    def here(tracklets: tuple[Tracklet, ...]) -> tuple[Tracklet, ...]:
        return tuple(replace(t, root=root) for t in tracklets)

    return replace(
        split, root=root, train=here(split.train), query=here(split.query), gallery=here(split.gallery)
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_folder_tree(tmp_path / "set")


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("layout", WRITERS)
def test_every_split_and_every_byte_come_back(layout: str, tmp_path: Path):
    root = WRITERS[layout](tmp_path / "set")
    out = tmp_path / "packed"
    write_pack(root, out)
    assert find_dataset(out) == ("pack", out)
    assert num_splits(out) == num_splits(root)
    for number in range(num_splits(root)):
        for direction in ("first-half-tests", "last-half-tests"):
            original = read_split(root, split=number, direction=direction)
            packed = read_split(out, layout="pack", split=number, direction=direction)
            assert packed == moved(original, out)
            for there, here in zip(everything(original), everything(packed), strict=True):
                for index in range(len(there)):
                    assert encoded_frame(here, index).tobytes() == there.frame_path(index).read_bytes()
                    assert np.array_equal(
                        read_tracklet_frame(here, index), read_picture(there.frame_path(index))
                    )


def test_tracklets_that_splits_share_are_stored_once(tmp_path: Path):
    root = write_ilids_vid(tmp_path / "set", pids=(1, 2, 5, 9))
    summary = write_pack(root, tmp_path / "packed")
    assert summary.tracklets == 8
    assert summary.splits == 2


def test_a_split_or_direction_that_is_not_there_is_refused(tmp_path: Path):
    out = tmp_path / "packed"
    write_pack(write_ilids_vid(tmp_path / "set"), out)
    with pytest.raises(DataError, match="no split 2; there are 2, 0 to 1"):
        read_split(out, split=2)
    with pytest.raises(DataError, match="no direction 'sideways'; there are first-half-tests"):
        read_split(out, direction="sideways")


def test_a_rendered_copy_stays_one_and_published_counts_still_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = write_mars(tmp_path / "set")
    write_pack(root, tmp_path / "real")
    with pytest.raises(DataError, match=r"not the published data set .*\n.*published: 625 training pids"):
        read_split(tmp_path / "real", check_counts=True)
    (root / "benchmark.json").write_text('{"name": "my benchmark"}')
    write_pack(root, tmp_path / "rendered")
    split = read_split(tmp_path / "rendered", check_counts=True)
    assert split.dataset == "my benchmark"
    assert check_dataset(tmp_path / "rendered").is_benchmark
    assert isinstance(PublishedCounts, type)


def test_raw_frames_are_resized_once_and_read_without_copies(tree: Path, tmp_path: Path):
    out = tmp_path / "packed"
    write_pack(tree, out, settings=SMALL_RAW)
    original, packed = (everything(read_split(root)) for root in (tree, out))
    for there, here in zip(original, packed, strict=True):
        frames = [read_tracklet_frame(here, index) for index in range(len(here))]
        for index, frame in enumerate(frames):
            assert np.array_equal(frame, resize_frame(read_picture(there.frame_path(index)), 6, 5))
            assert not frame.flags.writeable
        # One after the other in the file: a clip is one contiguous read.
        starts = [frame.__array_interface__["data"][0] for frame in frames]
        assert np.diff(starts).tolist() == [6 * 5 * 3] * (len(frames) - 1)


def test_jpeg_frames_have_the_training_size_and_look_alike(tmp_path: Path):
    root = write_folder_tree(tmp_path / "set")
    out = tmp_path / "packed"
    write_pack(root, out, settings=PackSettings(frames="jpeg", height=16, width=8, quality=100))
    for there, here in zip(everything(read_split(root)), everything(read_split(out)), strict=True):
        frame = read_tracklet_frame(here, 0)
        wanted = resize_frame(read_picture(there.frame_path(0)), 16, 8)
        assert frame.shape == (16, 8, 3)
        assert abs(frame.mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 4


def test_a_jpeg_of_the_right_size_is_not_encoded_again(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "kept")
    write_pack(tree, tmp_path / "jpeg", settings=PackSettings(frames="jpeg", height=8, width=4, quality=50))
    kept, jpeg = (everything(read_split(tmp_path / name)) for name in ("kept", "jpeg"))
    assert all(
        np.array_equal(encoded_frame(a, 0), encoded_frame(b, 0)) for a, b in zip(kept, jpeg, strict=True)
    )


def test_a_pack_can_be_packed_again(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "kept")
    write_pack(tmp_path / "kept", tmp_path / "twice", settings=SMALL_RAW)
    write_pack(tree, tmp_path / "once", settings=SMALL_RAW)
    once, twice = (content(tmp_path / name) for name in ("once", "twice"))
    assert {name: data for name, data in once.items() if name != INDEX} == {
        name: data for name, data in twice.items() if name != INDEX
    }
    with pytest.raises(DataError, match="pack of raw frames, it has no encoded ones to keep"):
        write_pack(tmp_path / "once", tmp_path / "impossible")


def test_shards_are_plain_safetensors_files(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "packed", settings=SMALL_RAW)
    first = read_split(tree).train[0]
    with safe_open(tmp_path / "packed/shard-00000.safetensors", framework="np") as shard:
        assert shard.get_tensor(first.name).shape == (len(first), 6, 5, 3)


def test_several_processes_write_the_same_pack(tree: Path, tmp_path: Path):
    seen: list[tuple[int, int]] = []
    for name, workers in (("one", 1), ("two", 2)):
        write_pack(
            tree,
            tmp_path / name,
            workers=workers,
            shard_bytes=ONE_TRACKLET_A_SHARD,
            progress=lambda done, total: seen.append((done, total)),
        )
        assert seen[-1] == (24, 24)
    assert content(tmp_path / "one") == content(tmp_path / "two")


# ---------------------------------------------------------------- interruptions


@pytest.mark.parametrize("finished", range(9))
def test_an_interrupted_pack_goes_on_after_its_last_shard(
    finished: int, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_pack(tree, tmp_path / "whole", shard_bytes=ONE_TRACKLET_A_SHARD)
    out, total = tmp_path / "packed", len(everything(read_split(tree)))
    packed: list[str] = []
    original = write_module.pack_shard

    def interrupted(shard: shards_module.Shard) -> object:
        if len(packed) == finished:
            raise KeyboardInterrupt
        packed.append(shard.path.name)
        return original(shard)

    with monkeypatch.context() as patch:
        patch.setattr(write_module, "pack_shard", interrupted)
        if finished == total:
            patch.setattr(write_module, "_finish", lambda *_: interrupted(None))  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            write_pack(tree, out, shard_bytes=ONE_TRACKLET_A_SHARD)
    assert len(packed) == finished
    with pytest.raises(DataError, match="was not finished; run the same"):
        read_split(out)
    with pytest.raises(DataError, match="was not finished"):
        pack_of(out)
    (out / f"shard-{finished:05d}.safetensors.4711-42.partial").write_bytes(b"half of it")
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    summary = write_pack(tree, out, shard_bytes=ONE_TRACKLET_A_SHARD)
    assert summary.frames_written == summary.frames - 3 * finished
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.parametrize("step", [TABLES, INDEX])
def test_a_crash_while_the_index_is_written_is_mended(
    step: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "packed"
    original = Path.replace

    def crash(partial: Path, path: Path) -> Path:
        if path.name == step:
            raise KeyboardInterrupt
        return original(partial, path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            write_pack(tree, out)
    assert not (out / INDEX).exists()
    assert write_pack(tree, out).frames_written == 0
    write_pack(tree, tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def interrupt_after_the_shards(tree: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write_module, "_finish", crash)
        with pytest.raises(KeyboardInterrupt):
            write_pack(tree, out, shard_bytes=ONE_TRACKLET_A_SHARD)


def test_a_shard_damaged_since_the_interruption_is_packed_again(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "packed"
    interrupt_after_the_shards(tree, out, monkeypatch)
    flip_last_byte(out / "shard-00002.safetensors")
    assert write_pack(tree, out, shard_bytes=ONE_TRACKLET_A_SHARD).frames_written == 3
    assert verify_pack(out) == []


def change(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("how", [change, Path.unlink, lambda path: write_frame(path.with_name("99.jpg"))])
def test_data_that_changed_since_the_interruption_are_noticed(
    how: Callable[[Path], None], tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "packed"
    interrupt_after_the_shards(tree, out, monkeypatch)
    how(read_split(tree).train[0].frame_path(0))
    with pytest.raises(DataError, match=r"not the one that the pack .* was begun from: files were added"):
        write_pack(tree, out, shard_bytes=ONE_TRACKLET_A_SHARD)


def test_other_settings_and_other_folders_are_refused(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "packed")
    assert write_pack(tree, tmp_path / "packed").frames_written == 0
    with pytest.raises(OutputError, match=r"written with other settings.*'keep'.* there, .*'raw'"):
        write_pack(tree, tmp_path / "packed", settings=SMALL_RAW)
    with pytest.raises(DataError, match="was written from"):
        write_pack(write_folder_tree(tmp_path / "other", frames=2), tmp_path / "packed")
    with pytest.raises(OutputError, match="not empty and no pack"):
        write_pack(tree, tree)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_said_and_the_pack_goes_on_when_there_is_room(
    error: Exception, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, calls = tmp_path / "packed", []
    original = shards_module.save_file

    def full(arrays: object, path: Path, **options: object) -> None:
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"as much as went in")
            raise error
        original(arrays, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shards_module, "save_file", full)
        with pytest.raises(
            OutputError,
            match=r"the disk is full \(.*MiB are free, the file needs more\); finished shards are kept",
        ):
            write_pack(tree, out, shard_bytes=ONE_TRACKLET_A_SHARD)
    assert not list(out.glob("*.partial"))
    summary = write_pack(tree, out, shard_bytes=ONE_TRACKLET_A_SHARD)
    assert summary.frames_written == summary.frames - 2 * 3


# ---------------------------------------------------------------- damage


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_verifying_names_the_damaged_tracklet(tree: Path, tmp_path: Path):
    out = tmp_path / "packed"
    write_pack(tree, out)
    assert verify_pack(out) == []
    flip_last_byte(out / "shard-00000.safetensors")
    (problem,) = verify_pack(out)
    pack = open_pack(out)
    last = pack.names[int(np.argmax(pack.tables["offset"]))]
    assert f"shard-00000.safetensors is damaged: tracklets {last};" in problem
    report = check_dataset(out)
    assert not report.ok
    assert last in report.findings[0].what


def test_cut_and_missing_shards_are_found(tree: Path, tmp_path: Path):
    out = tmp_path / "packed"
    write_pack(tree, out, shard_bytes=ONE_TRACKLET_A_SHARD)
    os.truncate(out / "shard-00001.safetensors", 50)
    (out / "shard-00002.safetensors").unlink()
    problems = verify_pack(out)
    assert len(problems) == 2
    assert "has 50 bytes, the index says" in problems[0]
    assert "is missing" in problems[1]
    pack = open_pack(out)
    for number, reason in ((1, "has 50 bytes"), (2, "cannot be opened")):
        with pytest.raises(DataError, match=rf"shard-0000{number}.safetensors {reason}"):
            read_tracklet_frame(pack.tracklet(number), 0)


def test_a_whole_pack_passes_the_check(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "packed", settings=SMALL_RAW)
    report = check_dataset(tmp_path / "packed", decode="all")
    assert report.ok
    assert report.frames_decoded == 24


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (INDEX, lambda text: text[:-9], "is damaged"),
        (INDEX, lambda text: "[]", "no index of a pack"),
        (
            INDEX,
            lambda text: text.replace('"version": 1', '"version": 2'),
            "format version 2, this intraclip",
        ),
        (TABLES, lambda text: "none", "is damaged"),
        (TABLES, None, "is missing"),
    ],
)
def test_a_damaged_index_is_one_clear_error(
    name: str, damage: Callable[[str], str] | None, message: str, tree: Path, tmp_path: Path
):
    out = tmp_path / "packed"
    write_pack(tree, out)
    if damage is None:
        (out / name).unlink()
    else:
        (out / name).write_text(damage((out / name).read_text(errors="replace")))
    with pytest.raises(DataError, match=message):
        read_split(out)


def test_tables_of_another_pack_are_noticed(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "packed")
    write_pack(write_folder_tree(tmp_path / "other", frames=2), tmp_path / "second")
    shutil.copy(tmp_path / "second" / TABLES, tmp_path / "packed" / TABLES)
    with pytest.raises(DataError, match="damaged, or does not belong to"):
        read_split(tmp_path / "packed")


OLD = Path(__file__).with_name("old")


def read_all(root: Path) -> list[object]:
    """All that a reader gets from a pack: who is in it, and every frame."""
    forget_pack(root)
    split = read_split(root)
    found: list[object] = [
        split.dataset,
        split.protocol,
        len(split.train),
        len(split.query),
        num_splits(root),
    ]
    for tracklet in everything(split):
        pixels = [read_tracklet_frame(tracklet, i).tobytes() for i in range(len(tracklet))]
        found.append((tracklet.name, tracklet.pid, tracklet.camid, tracklet.frames, pixels))
    return found


@pytest.mark.parametrize("kind", ["keep", "raw"])
def test_packs_of_the_first_format_still_open(kind: str, tmp_path: Path):
    old = OLD / f"pack-v1-{kind}"
    tree = write_folder_tree(tmp_path / "set", frames=2)
    settings = PackSettings(frames="raw", height=6, width=5) if kind == "raw" else PackSettings()
    write_pack(tree, tmp_path / "new", settings=settings)
    assert read_all(old) == read_all(tmp_path / "new")
    assert verify_pack(old) == []


@pytest.mark.parametrize("pack", ["keep", "raw", "pack-v1-keep", "pack-v1-raw"])
def test_a_damaged_byte_is_one_clear_error_or_changes_nothing(pack: str, tmp_path: Path):
    if pack in ("keep", "raw"):
        tree = write_folder_tree(tmp_path / "set", frames=2)
        (tree / "benchmark.json").write_text('{"name": "rendered"}')
        write_pack(tree, tmp_path / "packed", settings=SMALL_RAW if pack == "raw" else PackSettings())
    else:
        shutil.copytree(OLD / pack, tmp_path / "packed")
    whole = read_all(tmp_path / "packed")
    rng = np.random.default_rng([5, *pack.encode()])
    refused: list[str] = []
    for trial in range(120):
        # Half of the trials strike the index, which is the smallest file and holds the most.
        names = [INDEX, *sorted(p.name for p in (tmp_path / "packed").iterdir())]
        path = tmp_path / "packed" / names[trial % 2 and rng.integers(len(names))]
        before = path.read_bytes()
        data = bytearray(before)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            assert read_all(tmp_path / "packed") == whole
        except DataError as error:
            refused.append(str(error))
        path.write_bytes(before)
    assert len(refused) > 60
    assert all("\n" not in message for message in refused)
    forget_pack(tmp_path / "packed")


# ---------------------------------------------------------------- unreadable frames


@pytest.mark.parametrize("settings", [PackSettings(), PackSettings(frames="jpeg"), SMALL_RAW])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"\xff\xd8 nothing")])
def test_unreadable_frames_stop_the_pack_or_are_listed(
    settings: PackSettings, damage: Callable[[Path], None], tmp_path: Path
):
    root, out = write_mars(tmp_path / "set"), tmp_path / "packed"
    broken = read_split(root).train[0]
    damage(broken.frame_path(1))
    with pytest.raises(FrameError, match=broken.frames[1]):
        write_pack(root, out, settings=settings)
    summary = write_pack(root, out, settings=settings, on_unreadable="skip")
    assert len(summary.unreadable) == 1
    assert summary.unreadable[0].startswith(f"{broken.name}, frame 1: ")
    packed = read_split(out).train[0]
    with pytest.raises(FrameError, match=r"unreadable when the pack was made: \w+"):
        read_tracklet_frame(packed, 1)
    assert read_tracklet_frame(packed, 0).shape == read_tracklet_frame(packed, 2).shape
    report = check_dataset(out, decode="all")
    assert report.ok
    assert any(broken.name in finding.what for finding in report.findings)


def test_frames_that_were_skipped_stop_a_run_that_shall_stop(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read_split(tree).train[0].frame_path(1).write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(write_module, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_pack(tree, tmp_path / "packed", on_unreadable="skip")
    with pytest.raises(FrameError, match="empty"):
        write_pack(tree, tmp_path / "packed", on_unreadable="stop")


# ---------------------------------------------------------------- reading


def test_a_pickled_pack_is_only_its_folder(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "packed")
    pack = open_pack(tmp_path / "packed")
    frame = pack.encoded(pack.tracklet(0), 0)
    data = pickle.dumps(pack)
    assert len(data) < 500
    again = pickle.loads(data)
    assert np.array_equal(again.encoded(again.tracklet(0), 0), frame)


def test_frames_of_a_changed_tracklet_are_found_by_name(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "packed")
    tracklet = read_split(tmp_path / "packed").train[0]
    reverse = replace(tracklet, frames=tracklet.frames[::-1])
    assert np.array_equal(encoded_frame(reverse, 0), encoded_frame(tracklet, 2))
    with pytest.raises(FrameError, match="no such frame of tracklet"):
        encoded_frame(replace(tracklet, frames=("other.jpg",)), 0)
    with pytest.raises(FrameError, match="has no tracklet nobody"):
        encoded_frame(replace(tracklet, name="nobody"), 0)


@pytest.mark.parametrize("kind", ["keep", "jpeg", "raw"])
def test_lying_frames_stand_upright_in_a_pack(kind: str, tree: Path, tmp_path: Path):
    tracklet = read_split(tree).train[0]
    height, width = read_tracklet_frame(tracklet, 0).shape[:2]
    upright = np.broadcast_to(np.linspace(0, 255, height, dtype=np.uint8)[:, None, None], (height, width, 3))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down: the size of the file is that of the picture
    Image.fromarray(upright[::-1, ::-1]).save(
        tracklet.frame_path(0), "JPEG", exif=exif, quality=98, subsampling=0
    )
    write_pack(tree, tmp_path / "packed", settings=PackSettings(frames=kind, height=height, width=width))
    found = read_tracklet_frame(read_split(tmp_path / "packed").train[0], 0)
    assert abs(found.astype(int) - upright).mean() < 8
    assert abs(found.astype(int) - upright[::-1, ::-1]).mean() > 20


def test_raw_packs_have_no_encoded_frames(tree: Path, tmp_path: Path):
    write_pack(tree, tmp_path / "packed", settings=SMALL_RAW)
    with pytest.raises(FrameError, match="raw pixels, no encoded frames"):
        encoded_frame(read_split(tmp_path / "packed").train[0], 0)


def test_settings_out_of_range_are_refused(tree: Path, tmp_path: Path):
    wrong = PackSettings(frames="jpeg", height=0, quality=101)
    with pytest.raises(
        ConfigError, match=r"height: 0 is too small, at least 1\n  quality: 101 must lie in 1\.\.100"
    ):
        write_pack(tree, tmp_path / "packed", settings=wrong)
    assert not (tmp_path / "packed").exists()


def test_the_index_says_what_the_pack_is(tree: Path, tmp_path: Path):
    write_pack(
        tree, tmp_path / "packed", settings=PackSettings(frames="jpeg", height=16, width=8, quality=80)
    )
    index = json.loads((tmp_path / "packed" / INDEX).read_text())
    assert index["frames"] == {"kind": "jpeg", "height": 16, "width": 8, "quality": 80}
    assert (index["dataset"], index["tracklets"], index["num_frames"]) == ("folder", 8, 24)
    modes = {path.stat().st_mode for path in (tmp_path / "packed").iterdir()}
    assert len(modes) == 1, "who may read one file of a pack may read all of them"


def test_two_processes_do_not_pack_into_one_folder(tree: Path, tmp_path: Path, monkeypatch):
    """The same command given twice: the second neither mixes with the first nor takes over what it has done."""
    whole = write_module._pack_all
    said = []

    def meanwhile(*args, **options):
        with pytest.raises(OutputError, match="another process is packing") as caught:
            write_pack(tree, tmp_path / "pack", settings=SMALL_RAW)
        said.append(str(caught.value))
        return whole(*args, **options)

    monkeypatch.setattr(write_module, "_pack_all", meanwhile)
    write_pack(tree, tmp_path / "pack", settings=SMALL_RAW)
    assert len(said) == 1
    assert verify_pack(tmp_path / "pack") == []
    assert not (tmp_path / "pack" / UNFINISHED).exists()
