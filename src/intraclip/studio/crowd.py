"""One frame of a camera with everybody who is in its view: the picture, and the truth about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from intraclip.studio.arrays import Array, Mask, Picture, blurred, f32
from intraclip.studio.body import Body, build_body
from intraclip.studio.camera import PICTURE, Camera
from intraclip.studio.config import Difficulty, VideosConfig
from intraclip.studio.identity import draw_identity
from intraclip.studio.journeys import Visit, pose
from intraclip.studio.place import Place, open_place
from intraclip.studio.randomness import Kind, generator
from intraclip.studio.render import Figure, Layers, Window, draw_people, move
from intraclip.studio.scene import scene_light
from intraclip.studio.sensor import expose, noise_atlas

_FEW_ROWS = 116
"""People of up to this many pixels are drawn at twice the resolution and averaged."""

_SPACING = 0.7
"""Distance between points of a body, pixels."""

_FINEST = 0.0025
"""Nobody's points lie closer than this, metres."""

_BODY_DEPTH = 0.45
"""How far a person reaches towards the camera, metres: what is nearer than that hides the person."""

LEAST_INSIDE = 0.1
"""Someone of whom less than this share is inside the picture is not in the ground truth."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """One person in one frame.

    Attributes:
        box: left, top, right, bottom in pixels, around the whole person whether hidden or not, as far as it lies
            in the picture.
        visibility: share of the person's silhouette that is seen, 0..1; what other people or things hide and what
            lies outside the picture is not.
        silhouette: bool ``[height, width]``, where the person is seen.
    """

    pid: int
    box: tuple[int, int, int, int]
    visibility: float
    silhouette: Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """One frame.

    Attributes:
        picture: uint8 ``[height, width, 3]`` RGB, as the camera sends it.
        people: everybody who is in it, nearest first.
    """

    picture: Picture
    people: tuple[Seen, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Drawn:
    """A person's layers, and where they lie in the picture (possibly beyond its edges)."""

    pid: int
    depth: float
    left: int
    top: int
    layers: Layers


class Crowd:
    """Draws the frames of one camera."""

    def __init__(self, config: VideosConfig, camid: int, visits: Sequence[Visit]) -> None:
        self.config = config
        self.camid = camid
        self.visits = [v for v in visits if v.camid == camid]
        self._place: Place = open_place(config.seed, camid, config.difficulty)
        self._scale = config.width / PICTURE[0]
        size = (config.width, config.height)
        self._light = f32(cv2.resize(scene_light(self._place.coded), size, interpolation=cv2.INTER_AREA))
        self._depth = f32(cv2.resize(self._place.depth, size, interpolation=cv2.INTER_NEAREST))
        ground = self._place.ground.astype(np.float32)
        self._ground = f32(cv2.resize(ground, size, interpolation=cv2.INTER_AREA))
        self._grain = noise_atlas(generator(config.seed, Kind.NOISE, camid))
        # Bodies and poses are made when somebody enters and forgotten when they have left.
        self._bones: dict[int, Array] = {}

    def shot(self, frame: int) -> Shot:
        """One frame, counted from 0; those of a video in order."""
        drawn = [self._draw(visit, frame) for visit in self.visits if visit.first <= frame <= visit.last]
        for number in [n for n in self._bones if self.visits[n].last < frame]:
            del self._bones[number]
        near_first = sorted((d for d in drawn if d is not None), key=lambda d: (d.depth, d.pid))
        height, width = self._depth.shape
        through = np.ones((height, width), dtype=np.float32)  # how much of what is behind is still seen
        front = np.zeros((height, width, 3), dtype=np.float32)
        lit = np.ones((height, width), dtype=np.float32)
        people = []
        for person in near_first:
            overlap = _overlap(person, height, width)
            if overlap is None:
                continue
            inner, outer = overlap
            cover = person.layers.cover
            free = 1 - blurred(f32(self._depth[outer] < person.depth - _BODY_DEPTH), 0.6, size=3)
            part = cover[inner] * free
            shown = part * through[outer]
            front[outer] += person.layers.colour[inner] * (free * through[outer])[..., None]
            through[outer] -= shown
            lit[outer] *= 1 - person.layers.shade[inner] * self._ground[outer]
            found = _truth(person, shown, inner, outer, (height, width))
            if found is not None:
                people.append(found)
        light = self._light * (lit * through)[..., None] + front
        return Shot(picture=self._exposed(light, frame), people=tuple(people))

    def _exposed(self, light: Array, frame: int) -> Picture:
        rng = generator(self.config.seed, Kind.NOISE, self.camid, 1 + frame)
        # The grain is a small tile: shift it, or it would stand still in front of the moving people.
        shift = tuple(int(s) for s in rng.integers(0, self._grain.shape[0], 2))
        grain = np.roll(self._grain, shift, axis=(0, 1))
        return expose(light, self._place.camera.sensor, self._scale, np.ones(3), grain, rng)

    def _draw(self, visit: Visit, frame: int) -> _Drawn | None:
        """Layers of one person, or None where nothing of them can be in the picture."""
        config, camera = self.config, self._place.camera
        number, step = self.visits.index(visit), frame - visit.first
        spot = visit.place[step]
        depth = float(camera.see(np.array([*spot, 0.9]))[2])
        if not self._place.sees(spot):
            return None
        who = draw_identity(config.seed, visit.pid, config.difficulty)
        if number not in self._bones:
            self._bones[number] = pose(config, visit, who)
        bones = self._bones[number][step]
        outline = Figure(body=_body(config.seed, visit.pid, config.difficulty, 0.05), bones=bones)
        left, top, right, bottom, tall = self._extent(outline, camera)
        if right <= left or bottom <= top:
            return None
        columns, rows = right - left, bottom - top
        window = Window(
            left=left / self._scale,
            top=top / self._scale,
            width=columns / self._scale,
            height=rows / self._scale,
            columns=columns,
            rows=rows,
        )
        few = tall <= _FEW_ROWS
        pixel = depth / (camera.focal * self._scale) / (1.7 if few else 1.0)
        # Sizes in steps, so that a body that comes nearer is laid out a few times and not in every frame.
        spacing = max(_FINEST, float(1.3 ** np.floor(np.log(_SPACING * pixel) / np.log(1.3))))
        figure = Figure(body=_body(config.seed, visit.pid, config.difficulty, spacing), bones=bones)
        layers = draw_people([figure], camera, window, finer=2 if few else 1)
        return _Drawn(pid=visit.pid, depth=depth, left=left, top=top, layers=layers)

    def _extent(self, outline: Figure, camera: Camera) -> tuple[int, int, int, int, float]:
        """Edges of what must be drawn, pixels: the whole body, and its shadow as far as it is in the picture."""
        points = move(outline, camera)[0]
        up = (camera.turn @ np.array([0, 0, 1.0])).astype(np.float32)
        toward = (camera.turn @ np.asarray(camera.light.toward)).astype(np.float32)
        above = up @ points + np.float32(camera.height)
        cast = points - toward[:, None] * (above / (toward @ up))
        u0, v0, u1, v1 = self._edges(points)
        tall = v1 - v0
        margin = 0.04 * tall + 3
        left, top, right, bottom = u0 - margin, v0 - margin, u1 + margin, v1 + 2 * margin
        cast = cast[:, cast[2] > 0.5]
        if cast.shape[1]:
            shadow = self._edges(cast)
            left, top = min(left, max(shadow[0], 0)), min(top, max(shadow[1], 0))
            right = max(right, min(shadow[2], self.config.width))
            bottom = max(bottom, min(shadow[3], self.config.height))
        return int(np.floor(left)), int(np.floor(top)), int(np.ceil(right)), int(np.ceil(bottom)), tall

    def _edges(self, points: Array) -> tuple[float, float, float, float]:
        camera, depth = self._place.camera, np.maximum(points[2], 0.1)
        u = (points[0] / depth * camera.focal + PICTURE[0] / 2) * self._scale
        v = (points[1] / depth * camera.focal + PICTURE[1] / 2) * self._scale
        return float(u.min()), float(v.min()), float(u.max()), float(v.max())


def _truth(
    person: _Drawn,
    shown: Array,
    inner: tuple[slice, slice],
    outer: tuple[slice, slice],
    shape: tuple[int, int],
) -> Seen | None:
    cover = person.layers.cover
    whole = float(cover.sum())
    if whole <= 0 or float(cover[inner].sum()) < LEAST_INSIDE * whole:
        return None
    rows, columns = np.flatnonzero((cover > 0.5).any(axis=1)), np.flatnonzero((cover > 0.5).any(axis=0))
    if not len(rows):
        return None
    left, right = person.left + int(columns[0]), person.left + int(columns[-1]) + 1
    top, bottom = person.top + int(rows[0]), person.top + int(rows[-1]) + 1
    box = max(left, 0), max(top, 0), min(right, shape[1]), min(bottom, shape[0])
    if box[2] - box[0] < 2 or box[3] - box[1] < 2:
        return None
    silhouette = np.zeros(shape, dtype=np.bool_)
    silhouette[outer] = shown > 0.5
    return Seen(
        pid=person.pid, box=box, visibility=min(1.0, float(shown.sum()) / whole), silhouette=silhouette
    )


def _overlap(
    person: _Drawn, height: int, width: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """The part of a person's layers that lies in the picture, and where it lies there; None where nothing does."""
    rows, columns = person.layers.cover.shape
    top, bottom = max(person.top, 0), min(person.top + rows, height)
    left, right = max(person.left, 0), min(person.left + columns, width)
    if top >= bottom or left >= right:
        return None
    inner = slice(top - person.top, bottom - person.top), slice(left - person.left, right - person.left)
    return inner, (slice(top, bottom), slice(left, right))


@lru_cache(maxsize=48)
def _body(seed: int, pid: int, difficulty: Difficulty, spacing: float) -> Body:
    return build_body(draw_identity(seed, pid, difficulty), spacing, generator(seed, Kind.BODY, pid))
