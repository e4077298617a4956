"""Small people in large frames: detect on overlapping tiles and on the whole frame, then merge."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from intraclip.ingest.detections import Detections, suppress
from intraclip.ingest.frame_source import Image

BORDER_PIXELS = 4
"""A box this close to an inner border of its tile is taken to be cut by it."""

PROBE_FRAMES = 8
"""Frames on which `tiling=auto` compares."""

Detect = Callable[[Image], Detections]


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a frame, in pixels: left and top inside, right and bottom outside."""

    left: int
    top: int
    right: int
    bottom: int


def tiles_of(height: int, width: int, *, tile_height: int, tile_width: int, overlap: float) -> list[Tile]:
    """Fewest tiles that cover a frame, evenly spread; neighbours share `overlap` of a tile or more.

    >>> [(t.left, t.right) for t in tiles_of(416, 960, tile_height=416, tile_width=416, overlap=0.25)]
    [(0, 416), (272, 688), (544, 960)]
    """

    def starts(length: int, tile: int) -> list[int]:
        if length <= tile:
            return [0]
        shared = math.ceil(tile * overlap)
        count = math.ceil((length - shared) / (tile - shared))
        return [round(i * (length - tile) / (count - 1)) for i in range(count)]

    return [
        Tile(x, y, min(x + tile_width, width), min(y + tile_height, height))
        for y in starts(height, tile_height)
        for x in starts(width, tile_width)
    ]


def detect_tiled(
    image: Image, detect: Detect, tiles: list[Tile], *, nms_iou: float, piece: Detect | None = None
) -> Detections:
    """People of the whole frame, by `detect`, and of its tiles, by `piece` where it is given: each once, best first.

    A person cut by a tile's border would leave a second, partial box that overlaps the whole one too little
    to be suppressed; such boxes are dropped. Whoever is cut there is whole in the neighbouring tile, or larger
    than the overlap and thus found on the whole frame.
    """
    parts = [detect(image)]
    height, width = image.shape[:2]
    for tile in tiles:
        found = (piece or detect)(image[tile.top : tile.bottom, tile.left : tile.right])
        boxes = found.boxes + np.array([tile.left, tile.top, tile.left, tile.top], np.float32)
        whole = np.ones(len(found), dtype=bool)
        if tile.left > 0:
            whole &= boxes[:, 0] > tile.left + BORDER_PIXELS
        if tile.top > 0:
            whole &= boxes[:, 1] > tile.top + BORDER_PIXELS
        if tile.right < width:
            whole &= boxes[:, 2] < tile.right - BORDER_PIXELS
        if tile.bottom < height:
            whole &= boxes[:, 3] < tile.bottom - BORDER_PIXELS
        parts.append(Detections(boxes=boxes[whole], scores=found.scores[whole]))
    return suppress(Detections.join(parts), iou=nms_iou)


class TilesTrial:
    """The rule behind `tiling=auto`.

    Tiles pay when they find at least `gain` times as many people (from `score` on) as the whole frame does, and one
    person a frame more: a single extra box in a nearly empty view is more often a false one. Where searching for small
    people costs only `price` of what tiles cost, as much less is asked for.

    Attributes:
        frames: that were tried.
        few: people found without tiles.
        many: people found with them.
    """

    def __init__(
        self, detect: Detect, with_tiles: Detect, *, score: float, gain: float, price: float = 1.0
    ) -> None:
        self.frames = self.few = self.many = 0
        self._detect, self._with_tiles = detect, with_tiles
        self._score, self._gain, self._price = score, gain, price

    def add(self, image: Image) -> None:
        """Try one frame of the video."""
        self.frames += 1
        self.few += int((self._detect(image).scores >= self._score).sum())
        self.many += int((self._with_tiles(image).scores >= self._score).sum())

    @property
    def pays(self) -> bool:
        """Whether to use tiles, by the frames tried so far."""
        least = max((1 + (self._gain - 1) * self._price) * self.few, self.few + self._price * self.frames)
        return self.many >= least and self.frames > 0
