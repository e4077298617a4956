"""Batches are the same from folders and packs, by any number of workers, in one process or several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from intraclip.config import ClipConfig, InputConfig, Recipe
from intraclip.core.media import read_picture
from intraclip.data.batches import iterate
from intraclip.data.clip_batch import ClipBatch
from intraclip.data.clips import Clip
from intraclip.data.dataset import TrainingBatches
from intraclip.data.frame_loader import FrameLoader
from intraclip.data.frames import resize_frame
from intraclip.data.pack.format import PackSettings
from intraclip.data.pack.write import write_pack
from intraclip.data.readers import read_split
from intraclip.data.test_batches import TestBatches
from intraclip.data.test_clips import tracklet_clips
from intraclip.errors import DataError, FrameError, IntraclipError
from intraclip.types import Split, Tracklet


@pytest.fixture(scope="session")
def folder(tiny_split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny split as a data folder with a manifest."""
    root = tmp_path_factory.mktemp("folder")
    lines = ["tracklet,folder,pid,camid,subset"]
    for subset, tracklets in (
        ("train", tiny_split.train),
        ("query", tiny_split.query),
        ("gallery", tiny_split.gallery),
    ):
        for tracklet in tracklets:
            (root / tracklet.name).mkdir()
            for i in range(len(tracklet)):
                source = tracklet.frame_path(i)
                (root / tracklet.name / source.name).write_bytes(source.read_bytes())
            lines.append(f"{tracklet.name},{tracklet.name},{tracklet.pid},{tracklet.camid},{subset}")
    (root / "tracklets.csv").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="session")
def packs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder packed in both ways that keep pixels exact at 32 x 16, in several shards."""
    root = tmp_path_factory.mktemp("packs")
    for kind in ("keep", "raw"):
        settings = PackSettings(frames=kind, height=32, width=16)
        write_pack(folder, root / kind, settings=settings, shard_bytes=20_000)
    return {kind: root / kind for kind in ("keep", "raw")}


def training(split: Split, recipe: Recipe, *, stop: int = 5, **shares: int) -> TrainingBatches:
    return TrainingBatches(split.train, recipe, stop=stop, **shares)


def same(one: ClipBatch, other: ClipBatch) -> bool:
    return one.unreadable == other.unreadable and all(
        torch.equal(a, b)
        for a, b in (
            (one.frames, other.frames),
            (one.mask, other.mask),
            (one.pids, other.pids),
            (one.camids, other.camids),
            (one.labels, other.labels),
            (one.owners, other.owners),
        )
    )


def all_same(one: Iterator[ClipBatch], other: Iterator[ClipBatch]) -> bool:
    return all(same(a, b) for a, b in zip(one, other, strict=True))


# ---------------------------------------------------------------- what a batch holds


def test_a_batch_holds_the_frames_that_were_chosen(tiny_split: Split, tiny_recipe: Recipe):
    dataset = training(tiny_split, tiny_recipe)
    loaded = dataset[1]
    assert isinstance(loaded, ClipBatch)
    for row, (owner, clip) in enumerate(dataset.choose(1)):
        for t, index in enumerate(clip.indices.tolist()):
            frame = resize_frame(read_picture(tiny_split.train[owner].frame_path(index)), 32, 16)
            assert np.array_equal(loaded.frames[row, t].permute(1, 2, 0).numpy(), frame)


@pytest.mark.parametrize("workers", [0, 1])
def test_frames_lie_channels_last_in_memory(tiny_split: Split, tiny_recipe: Recipe, workers: int):
    for loaded in iterate(training(tiny_split, tiny_recipe), workers=workers):
        assert loaded.frames.shape == (12, 2, 3, 32, 16)
        assert loaded.frames.permute(0, 1, 3, 4, 2).is_contiguous()


@pytest.mark.parametrize("kind", ["keep", "raw"])
def test_a_pack_gives_the_batches_of_its_folder(
    kind: str, folder: Path, packs: dict[str, Path], tiny_recipe: Recipe
):
    here, there = read_split(folder), read_split(packs[kind])
    one, other = (iterate(training(split, tiny_recipe), workers=0) for split in (here, there))
    assert all_same(one, other)
    one, other = (
        iterate(TestBatches(split.test, tiny_recipe.clip, tiny_recipe.input, max_frames=10), workers=0)
        for split in (here, there)
    )
    assert all_same(one, other)


@pytest.fixture
def start_method(method: str) -> Iterator[None]:
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize(
    ("kind", "workers", "method"),
    [("keep", 1, "fork"), ("keep", 3, "fork"), ("raw", 2, "fork"), ("raw", 1, "spawn")],
)
def test_batches_do_not_depend_on_the_workers(
    kind: str, workers: int, method: str, packs: dict[str, Path], tiny_recipe: Recipe, start_method: None
):
    dataset = training(read_split(packs[kind]), tiny_recipe)
    assert all_same(
        iterate(dataset, workers=0),
        iterate(dataset, workers=workers, prefetch=1 + workers),
    )


@pytest.mark.parametrize("world_size", [1, 3])
def test_the_shares_of_all_ranks_make_the_whole_batch(
    world_size: int, tiny_split: Split, tiny_recipe: Recipe
):
    whole = list(iterate(training(tiny_split, tiny_recipe), workers=0))
    shares = [
        list(iterate(training(tiny_split, tiny_recipe, rank=rank, world_size=world_size), workers=0))
        for rank in range(world_size)
    ]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert all(len(part) == 12 // world_size for part in parts)
        assert torch.equal(torch.cat([p.frames for p in parts]), batch.frames)
        assert torch.equal(torch.cat([p.labels for p in parts]), batch.labels)
        assert torch.equal(torch.cat([p.owners for p in parts]), batch.owners)


def test_reading_leaves_the_global_random_state_alone(tiny_split: Split, tiny_recipe: Recipe):
    before = torch.get_rng_state()
    list(iterate(training(tiny_split, tiny_recipe, stop=2), workers=2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["keep", "raw"])
def test_batches_are_pinned_for_the_gpu(kind: str, packs: dict[str, Path], tiny_recipe: Recipe):
    dataset = training(read_split(packs[kind]), tiny_recipe)
    for workers in (0, 1):
        for loaded in iterate(dataset, workers=workers, pin_memory=True):
            assert loaded.frames.is_pinned()
            assert loaded.frames.permute(0, 1, 3, 4, 2).is_contiguous()


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("kind", ["keep", "raw"])
def test_another_size_than_the_packs_is_resized(kind: str, packs: dict[str, Path]):
    tracklet = read_split(packs[kind]).train[0]
    frames, _, _ = FrameLoader(InputConfig(height=16, width=8)).load(tracklet, whole_clip(2))
    assert frames.shape == (2, 16, 8, 3)
    stored = FrameLoader(InputConfig(height=32, width=16)).load(tracklet, whole_clip(2))[0]
    assert abs(frames.mean() - stored.mean()) < 2


def test_enlarging_the_frames_of_a_pack_is_worth_a_warning(packs: dict[str, Path], tiny_recipe: Recipe):
    recipe = replace(tiny_recipe, input=InputConfig(height=64, width=16))
    with pytest.warns(
        UserWarning, match=r"pack .*raw are 32 x 16, and are enlarged to 64 x 16; pack the data"
    ):
        training(read_split(packs["raw"]), recipe)
    training(read_split(packs["keep"]), recipe)  # no warning: what was kept has the size it always had


# ---------------------------------------------------------------- unreadable frames


def whole_clip(length: int) -> Clip:
    return tracklet_clips(length, ClipConfig(num_frames=length))[0]


def copy_with_damage(tracklet: Tracklet, root: Path, damaged: tuple[int, ...]) -> Tracklet:
    for index, name in enumerate(tracklet.frames):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        data = tracklet.frame_path(index).read_bytes()
        (root / name).write_bytes(data[: len(data) // 2] if index in damaged else data)
    return replace(tracklet, root=root)


def test_unreadable_frames_become_their_nearest_neighbours(tiny_split: Split, tmp_path: Path):
    tracklet = copy_with_damage(tiny_split.train[0], tmp_path, (0, 3))
    config = InputConfig(height=32, width=16)
    good = FrameLoader(config).load(tiny_split.train[0], whole_clip(6))[0]
    frames, mask, messages = FrameLoader(config, skip_unreadable=True).load(tracklet, whole_clip(6))
    assert np.array_equal(frames, good[[1, 1, 2, 2, 4, 5]])
    assert mask.tolist() == [False, True, True, False, True, True]
    assert [tracklet.frames[i] in text for i, text in zip((0, 3), messages, strict=True)] == [True, True]
    with pytest.raises(FrameError) as caught:
        FrameLoader(config).load(tracklet, whole_clip(6))
    assert caught.value.path == tracklet.frame_path(0)


def test_a_clip_without_a_readable_frame_takes_another_of_its_tracklet(tiny_split: Split, tmp_path: Path):
    tracklet = copy_with_damage(tiny_split.train[0], tmp_path, (0, 1))
    loader = FrameLoader(InputConfig(height=32, width=16), skip_unreadable=True)
    frames, mask, messages = loader.load(tracklet, whole_clip(2))
    third = loader.load(tracklet, Clip(np.array([2]), np.array([True])))[0][0]
    assert np.array_equal(frames, np.stack([third, third]))
    assert mask.tolist() == [True, False]
    assert len(messages) == 2
    nothing = copy_with_damage(tiny_split.train[0], tmp_path, tuple(range(6)))
    with pytest.raises(DataError, match="no frame of tracklet 0001C1T0001"):
        loader.load(nothing, whole_clip(2))


def test_a_repeated_frame_is_read_once_and_copied(tiny_split: Split):
    clip = Clip(np.array([1, 1, 0]), np.array([True, False, True]))
    frames, mask, _ = FrameLoader(InputConfig(height=32, width=16)).load(tiny_split.train[0], clip)
    assert np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[2])
    assert mask.tolist() == [True, False, True]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_worker_arrives_with_its_path(
    workers: int, tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    broken = tuple(copy_with_damage(t, tmp_path, (0, 1, 2, 3, 4, 5)) for t in tiny_split.train)
    with pytest.raises(FrameError) as caught:
        list(iterate(training(replace(tiny_split, train=broken), tiny_recipe), workers=workers))
    assert caught.value.path.is_relative_to(tmp_path)


def test_pixels_that_need_no_decoding_are_read_by_a_thread_of_this_process(
    packs: dict[str, Path], tiny_recipe: Recipe
):
    dataset = training(read_split(packs["raw"]), tiny_recipe, stop=9)
    read: list[tuple[int, str]] = []

    class Watched(TrainingBatches):
        def __getitem__(self, item):
            read.append((item, threading.current_thread().name.split("_")[0]))
            return super().__getitem__(item)

    dataset.__class__ = Watched
    batches = iterate(dataset, workers=2, prefetch=3)
    next(batches)
    assert multiprocessing.active_children() == []
    batches.close()
    assert read == [(number, "ahead") for number in range(len(read))]
    assert len(read) <= 4  # the rest was not asked for any more
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]


def test_an_error_in_the_thread_is_raised_as_it_is(packs: dict[str, Path], tiny_recipe: Recipe):
    dataset = training(read_split(packs["raw"]), tiny_recipe)
    dataset.loader.batch = lambda *_: FrameError(Path("a.jpg"), "damaged")  # type: ignore[method-assign]
    with pytest.raises(FrameError, match="damaged"):
        list(iterate(dataset, workers=2))
    del dataset.loader
    with pytest.raises(AttributeError):
        list(iterate(dataset, workers=2))


# ---------------------------------------------------------------- workers and signals

SIGNALS = """
import multiprocessing, os, signal, sys
from pathlib import Path
from intraclip.config import BatchConfig, ClipConfig, InputConfig, Recipe
from intraclip.data.dataset import TrainingBatches
from intraclip.data.readers import read_split
from intraclip.data.batches import iterate

def main():
    recipe = Recipe(input=InputConfig(height=32, width=16), clip=ClipConfig(num_frames=2),
                    batch=BatchConfig(identities=3, clips=4))
    split = read_split(Path({root!r}))
    data = TrainingBatches(split.train, recipe, stop=12)
    batches = iterate(data, workers=2)
    next(batches)
    for number in (signal.SIGINT, signal.SIGTERM):
        for child in multiprocessing.active_children():
            os.kill(child.pid, number)  # it notices before it reads the next of what is left
    print(sum(1 for _ in batches))
    global left_open
    left_open = iterate(data, workers=2)
    next(left_open)
    print("leaving in the middle")

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("kind", ["keep", "raw"])
def test_workers_leave_signals_to_the_parent_and_go_with_it(
    kind: str, packs: dict[str, Path], tmp_path: Path
):
    script = tmp_path / "script.py"
    script.write_text(SIGNALS.format(root=str(packs[kind])))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "11\nleaving in the middle\n", "")


KILLED = """
import multiprocessing, os, signal
from pathlib import Path
from intraclip.config import BatchConfig, ClipConfig, InputConfig, Recipe
from intraclip.data.dataset import TrainingBatches
from intraclip.data.readers import read_split
from intraclip.data.batches import iterate

if __name__ == "__main__":
    recipe = Recipe(input=InputConfig(height=32, width=16), clip=ClipConfig(num_frames=2),
                    batch=BatchConfig(identities=3, clips=4))
    split = read_split(Path({root!r}))
    data = TrainingBatches(split.train, recipe, stop=200)
    batches = iterate(data, workers=2)
    next(batches)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    for _ in batches:
        pass
"""


def test_a_program_ends_with_the_error_of_a_killed_worker(packs: dict[str, Path], tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(KILLED.format(root=str(packs["keep"])))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "a process that reads frames died" in done.stderr


def wait_until_idle(pid: int) -> None:
    """Until all threads of a process sleep and none has run for a while: it has read ahead and waits for work."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        pytest.skip("this system has no /proc")
    told: list[str] = []
    quiet = 0
    while quiet < 5:
        time.sleep(0.02)
        before, told = told, []
        for status in sorted(tasks.glob("*/status")):
            told += [
                line
                for line in status.read_text().splitlines()
                if line.startswith(("State", "vol", "nonvol"))
            ]
        asleep = all("sleeping" in line for line in told if line.startswith("State"))
        quiet = quiet + 1 if asleep and told == before else 0


# torch may notice the death once more while it cleans up.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_worker_is_one_clear_error(packs: dict[str, Path], tiny_recipe: Recipe):
    batches = iterate(training(read_split(packs["keep"]), tiny_recipe, stop=200), workers=1)
    next(batches)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    # Killed while it asks torch whether to stop, it would keep torch's lock.
    wait_until_idle(worker.pid)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(IntraclipError, match=r"a process that reads frames died; .*Lower data.workers"):
        list(batches)


class Broken:
    """Batches of which none can be made, for a reason that nobody foresaw."""

    tracklets: tuple[Tracklet, ...] = ()

    def __init__(self, split: Split) -> None:
        self.tracklets = split.train

    def __len__(self) -> int:
        return 4

    def __getitem__(self, item: int) -> ClipBatch:
        raise ZeroDivisionError(item)


def test_workers_leave_while_the_error_that_ended_the_reading_is_still_held(tiny_split: Split):
    with pytest.raises(ZeroDivisionError) as held:
        list(iterate(Broken(tiny_split), workers=2))
    assert held.value.__traceback__ is not None  # whose frames hold torch's iterator
    assert not multiprocessing.active_children()
