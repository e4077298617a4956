"""Small data that every test can learn from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch

from ci_skips import pytest_sessionfinish, pytest_terminal_summary  # noqa: F401 - hooks
from intraclip.config import (
    BatchConfig,
    ClipConfig,
    DataConfig,
    InputConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    RunConfig,
)
from intraclip.types import Split, Tracklet

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, and so are the processes that it starts
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
else:
    torch.set_num_threads(2)


@pytest.fixture(autouse=True, scope="session")
def _empty_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Which networks this machine's user has fetched is no test's business."""
    os.environ["INTRACLIP_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are laid out for the terminal: the same one wherever the tests are started."""
    monkeypatch.setenv("COLUMNS", "120")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `cuda` where there is no GPU."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def write_tracklet(
    root: Path, *, pid: int, camid: int, number: int = 1, frames: int = 6, height: int = 48, width: int = 24
) -> Tracklet:
    """Write a tracklet of a "person": two blocks of colour that depend on the pid, noise that does not.

    Camera 2 swaps red and blue, so that colours alone do not find people across cameras 1 and 2.
    """
    name = f"{pid:04d}C{camid}T{number:04d}"
    colours = np.random.default_rng([7, pid]).integers(30, 226, size=(2, 3))
    rng = np.random.default_rng([8, pid, camid, number])
    paths = []
    (root / f"{pid:04d}").mkdir(parents=True, exist_ok=True)
    for index in range(frames):
        frame = rng.integers(0, 256, size=(height, width, 3))
        left = 4 + int(rng.integers(-3, 4))
        frame[4 : height // 2, left : left + 14] = colours[0]
        frame[height // 2 : -4, left : left + 14] = colours[1]
        frame = np.clip(frame + rng.normal(0, 8, frame.shape), 0, 255).astype(np.uint8)
        frame = frame[..., ::-1] if camid == 2 else frame
        relative = f"{pid:04d}/{name}F{index + 1:03d}.jpg"
        (root / relative).write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=92))
        paths.append(relative)
    return Tracklet(name=name, root=root, frames=tuple(paths), pid=pid, camid=camid)


@pytest.fixture(scope="session")
def tiny_split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Six training and six test identities in two cameras, six frames a tracklet."""
    root = tmp_path_factory.mktemp("tiny")
    train = tuple(
        write_tracklet(root / "train", pid=pid, camid=camid) for pid in range(1, 7) for camid in (1, 2)
    )
    query = tuple(write_tracklet(root / "test", pid=pid, camid=1) for pid in range(7, 13))
    gallery = tuple(write_tracklet(root / "test", pid=pid, camid=2) for pid in range(7, 13))
    return Split(
        dataset="mars", root=root, train=train, query=query, gallery=gallery, protocol="mars-no-query"
    )


@pytest.fixture
def tiny_recipe() -> Recipe:
    """Seconds on a CPU."""
    return Recipe(
        seed=3,
        device="cpu",
        input=InputConfig(height=32, width=16),
        clip=ClipConfig(num_frames=2),
        batch=BatchConfig(identities=3, clips=4),
        model=ModelConfig(backbone="small", head="ica", weights="", backbone_settings={"width": 0.5}),
        optimizer=OptimizerConfig(epochs=3, decay_every=100, learning_rate=2e-3),
        data=DataConfig(workers=0),
        run=RunConfig(checkpoint_every=1, tensorboard=False),
    )
