"""A camera's empty place with its depth: where people can walk, and what hides them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from intraclip.studio.arrays import Array, Floats, Mask, Picture
from intraclip.studio.camera import PICTURE, Camera, draw_camera
from intraclip.studio.config import Difficulty
from intraclip.studio.scene import Thing, build_scene

ELBOW_ROOM = 0.4
"""Metres that people keep from walls and things."""

_CELL = 0.2
_LEFT, _NEAR, _COLUMNS, _ROWS = -40.0, -2.0, 400, 300
"""The map of the ground: size of a cell and place of its corner in metres, and how many cells there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """What a camera watches while nobody is there; all rasters have the size of the picture.

    Attributes:
        coded: uint8 ``[720, 1280, 3]``, as `scene.render_scene` gives it; `scene.scene_light` makes light of it.
        depth: float32 ``[720, 1280]``, metres along the optical axis; infinite in the sky.
        walls: the same without the things that stand about.
        ground: bool ``[720, 1280]``, where the ground is seen.
    """

    camera: Camera
    coded: Picture
    depth: Array
    walls: Array
    ground: Mask
    things: tuple[Thing, ...]

    @cached_property
    def _map(self) -> Mask:
        """For each cell of the ground ``[y, x, 2]``: whether it is walkable, and whether it is in view."""
        x = _LEFT + _CELL * (np.arange(_COLUMNS) + 0.5)
        y = _NEAR + _CELL * (np.arange(_ROWS) + 0.5)
        spots = np.stack(np.meshgrid(x, y), axis=-1)
        return np.stack([self.walkable(spots), self.sees(spots)], axis=-1)

    def about(self, x: float, y: float) -> tuple[bool, bool]:
        """`walkable` and `sees` of one spot, to 20 cm, from a map. Far away all is free and out of view."""
        column, row = int((x - _LEFT) / _CELL), int((y - _NEAR) / _CELL)
        if not (0 <= column < _COLUMNS and 0 <= row < _ROWS):
            return True, False
        free, seen = self._map[row, column].tolist()
        return free, seen

    def walkable(self, spots: Floats) -> Mask:
        """Where a person can stand, of spots ``[..., 2]``, metres: off walls and things. What is not seen is free."""
        free = np.ones(spots.shape[:-1], dtype=np.bool_)
        for thing in self.things:
            x, y, z = thing.centre
            if z - thing.half[2] < 2.0:  # one can walk below the crown of a tree
                away = spots - [x, y]
                cos, sin = np.cos(thing.turn), np.sin(thing.turn)
                along = np.abs(cos * away[..., 0] + sin * away[..., 1])
                across = np.abs(cos * away[..., 1] - sin * away[..., 0])
                width = thing.half[0] if thing.kind == "pole" else thing.half[1]
                free &= (along > thing.half[0] + ELBOW_ROOM) | (across > width + ELBOW_ROOM)
        for dx, dy in ((0, 0), (-ELBOW_ROOM, 0), (ELBOW_ROOM, 0), (0, ELBOW_ROOM)):
            ground = np.append(spots + np.array([dx, dy]), np.zeros((*spots.shape[:-1], 1)), axis=-1)
            column, row, depth = np.moveaxis(self.camera.see(ground), -1, 0)
            seen = (depth > 0.3) & (column >= 0) & (column < PICTURE[0]) & (row >= 0) & (row < PICTURE[1])
            at = np.where(seen, row, 0).astype(np.int64), np.where(seen, column, 0).astype(np.int64)
            free &= ~(seen & (self.walls[at] < depth - 0.1))
        return free

    def sees(self, spots: Floats) -> Mask:
        """Whether any part of a person at spots ``[..., 2]``, metres, can be in the picture, walls and things aside."""
        corners = np.stack(
            [
                np.stack([spots[..., 0] + dx, spots[..., 1] + dy, np.full(spots.shape[:-1], z)], axis=-1)
                for dx in (-0.5, 0.5)
                for dy in (-0.5, 0.5)
                for z in (0.0, 2.0)
            ]
        )
        column, row, depth = np.moveaxis(self.camera.see(corners), -1, 0)
        inside = (column.max(0) > 0) & (column.min(0) < PICTURE[0]) & (row.max(0) > 0)
        return np.asarray(inside & (row.min(0) < PICTURE[1]) & (depth.min(0) > 0.3), dtype=np.bool_)


@lru_cache(maxsize=8)
def open_place(seed: int, number: int, difficulty: Difficulty) -> Place:
    """The place of one camera, once a process; its picture is that of `scene.render_scene`."""
    camera = draw_camera(seed, number, difficulty)
    coded, depth, walls, things = build_scene(seed, camera)
    rays = camera.all_rays()
    to_ground = np.where(rays[..., 2] < -1e-4, -camera.height / np.minimum(rays[..., 2], -1e-4), -1)
    return Place(
        camera=camera,
        coded=coded,
        depth=depth,
        walls=walls,
        ground=np.asarray(np.abs(depth - to_ground) < 1e-3, dtype=np.bool_),
        things=tuple(things),
    )
