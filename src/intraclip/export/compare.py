"""Check a written file against the network it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from intraclip.data.frames import resize_frame
from intraclip.export.graph import FrameGraph, Graph

if TYPE_CHECKING:
    from intraclip.export.networks import Network

Frames = npt.NDArray[np.uint8]

CLIPS = ((1, 1), (2, 3), (7, 8), (1, 8), (7, 1))
"""Batch sizes and clip lengths that a clip network is checked at; a frame network sees the batches 1, 2 and 7."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well a file agrees with the network it came from.

    Attributes:
        cosine: lowest cosine similarity of any vector; NaN if the file gave numbers that are not finite.
        mean: average cosine similarity.
        difference: largest difference of any element, relative to the largest element.
    """

    cosine: float
    mean: float
    difference: float
    vectors: int


def compare(graph: Graph, network: Network, real: Frames, *, seed: int = 0) -> Agreement:
    """Run a file and its origin on random and on real frames, at several batch sizes and clip lengths, with masks.

    `real` is uint8 ``[K, H, W, 3]`` RGB of the network's size, any number of frames; repeated as needed.
    """
    rng = np.random.default_rng([seed, 21])
    shapes = [(1, 1), (2, 1), (7, 1)] if isinstance(graph, FrameGraph) else list(CLIPS)
    pairs = []
    for batch, length in shapes:
        count = batch * length
        noise = rng.integers(0, 256, size=(count, *real.shape[1:]), dtype=np.uint8)
        for frames in (noise, real[rng.permutation(max(count, len(real)))[:count] % len(real)]):
            arrays = _inputs(graph, frames, batch, rng)
            with torch.inference_mode():
                wanted = graph(*(torch.from_numpy(array) for array in arrays)).numpy()
            pairs.append((wanted, network.run(arrays)))
    return agreement(np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs]))


def agreement(wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> Agreement:
    """Compare vectors ``[N, D]`` row by row.

    >>> agreement(np.array([[3, 4], [1, 0]], np.float32), np.array([[3, 4], [1, 1]], np.float32)).cosine
    0.7071067811865475
    """
    a, b = wanted.astype(np.float64), found.astype(np.float64)
    if a.shape != b.shape or not np.isfinite(b).all():
        nan = float("nan")
        return Agreement(cosine=nan, mean=nan, difference=nan, vectors=len(a))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    alike = np.where(norms > 0, (a * b).sum(axis=1) / np.maximum(norms, 1e-300), (a == b).all(axis=1))
    scale = max(float(np.abs(a).max()), 1e-300)
    return Agreement(
        cosine=float(alike.min()),
        mean=float(alike.mean()),
        difference=float(np.abs(a - b).max()) / scale,
        vectors=len(a),
    )


def check_frames(*, height: int, width: int, count: int = 12) -> Frames:
    """Frames of soft blocks of any colour, the same at every call, for checks where no pictures are at hand.

    Returns:
        uint8 ``[count, height, width, 3]``, RGB.
    """
    blocks = np.random.default_rng(0).integers(0, 256, (count, 16, 8, 3), dtype=np.uint8)
    return np.stack([resize_frame(block, height, width) for block in blocks])


def _inputs(
    graph: Graph, frames: Frames, batch: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], ...] | tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    pixels = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    if isinstance(graph, FrameGraph):
        return (pixels,)
    clips = pixels.reshape(batch, -1, *pixels.shape[1:])
    mask = rng.random(clips.shape[:2]) < 0.6
    mask[np.arange(batch), rng.integers(0, clips.shape[1], batch)] = (
        True  # a clip needs one frame that counts
    )
    return clips, mask
