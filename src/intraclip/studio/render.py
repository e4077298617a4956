"""People to pixels: move the points, keep the nearest, light them, and average what falls in a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.studio.arrays import Array, Floats, blurred, closed, f32, lowest_near, resized, unpitted
from intraclip.studio.body import Body
from intraclip.studio.camera import PICTURE, Camera

_SAME_SURFACE = 0.035
"""Points of one pixel and its neighbours that differ less in depth belong to one surface, metres."""

_NOBODY = np.float32(1e9)
_SHADOW_CELL = 0.03
_SHADOW_SIZE = 112


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of a camera's picture that becomes one frame.

    Attributes:
        left: of the box, pixels of the picture.
        columns: width of the raster that is drawn.
    """

    left: float
    top: float
    width: float
    height: float
    columns: int
    rows: int

    def affine(self, offset: tuple[float, float] = (0.0, 0.0)) -> Floats:
        """Picture (less `offset`) to raster ``[2, 3]``; pixel centres lie at whole numbers."""
        sx, sy = self.columns / self.width, self.rows / self.height
        return np.array(
            [
                [sx, 0, (offset[0] + 0.5 - self.left) * sx - 0.5],
                [0, sy, (offset[1] + 0.5 - self.top) * sy - 0.5],
            ]
        )


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One person in one frame.

    Attributes:
        bones: float32 ``[bones, 3, 4]`` rest position to world position.
    """

    body: Body
    bones: Array


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What people add to a frame; all float32 of the raster's size.

    Attributes:
        colour: ``[h, w, 3]`` linear colour times coverage.
        cover: ``[h, w]`` how much of a pixel people cover.
        target: ``[h, w]`` how much of it the first figure covers.
        shade: ``[h, w]`` how much of the ground's light is blocked.
    """

    colour: Array
    cover: Array
    target: Array
    shade: Array


def stand(bones: Array, place: Floats, heading: Floats) -> Array:
    """Put posed people, bones ``[n, bones, 3, 4]`` in the body frame, into the world; float32, world axes.

    `place` ``[n, 2]`` is where they stand, metres; `heading` ``[n]`` radians, 0 walks away from the camera.
    """
    n = len(heading)
    turn = np.zeros((n, 1, 3, 3))
    turn[:, 0, 0, 0] = turn[:, 0, 1, 1] = np.cos(heading)
    turn[:, 0, 1, 0], turn[:, 0, 0, 1] = np.sin(heading), -np.sin(heading)
    turn[:, 0, 2, 2] = 1
    world = turn @ bones
    world[:, :, :2, 3] += place[:, None]
    return world.astype(np.float32)


def move(figure: Figure, camera: Camera, *, every: int = 1) -> tuple[Array, Array]:
    """Positions and normals ``[3, n]`` in camera axes; `every` skips points within each group."""
    turn = camera.turn.astype(np.float32)
    bones = figure.bones.copy()
    bones[:, 2, 3] -= np.float32(camera.height)
    bones = turn @ bones
    places, normals = [], []
    for group in figure.body.groups:
        chosen = bones[list(group.bones)].transpose(1, 0, 2)
        places.append(np.ascontiguousarray(chosen).reshape(3, -1) @ group.place[:, ::every])
        normals.append(np.ascontiguousarray(chosen[:, :, :3]).reshape(3, -1) @ group.turn[:, ::every])
    return np.concatenate(places, axis=1), np.concatenate(normals, axis=1)


def visible_points(
    places: Array, normals: Array, camera: Camera, window: Window
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array]:
    """Which points are seen.

    Returns:
        indices of the seen points ``[m]``, their pixel ``[m]`` in a raster with a border of one pixel, and
        the depth of that raster ``[rows + 2, columns + 2]``, 1e9 where nobody is.
    """
    front = np.flatnonzero(places[0] * normals[0] + places[1] * normals[1] + places[2] * normals[2] < 0)
    x, y, z = np.take(places, front, axis=1)
    scale = np.float32(camera.focal) / z
    sx, sy = window.columns / window.width, window.rows / window.height
    u = x * (scale * np.float32(sx)) + np.float32((PICTURE[0] / 2 + 0.5 - window.left) * sx + 1)
    v = y * (scale * np.float32(sy)) + np.float32((PICTURE[1] / 2 + 0.5 - window.top) * sy + 1)
    wide, high = window.columns + 2, window.rows + 2
    np.minimum(np.maximum(u, 0, out=u), wide - 1, out=u)
    np.minimum(np.maximum(v, 0, out=v), high - 1, out=v)
    pixel = v.astype(np.int64) * wide
    pixel += u.astype(np.int64)
    depth = np.full(wide * high, _NOBODY, dtype=np.float32)
    np.minimum.at(depth, pixel, z)
    nearest = lowest_near(depth.reshape(high, wide)).ravel()
    seen = np.flatnonzero(z < nearest[pixel] + np.float32(_SAME_SURFACE))
    return front[seen], pixel[seen], depth.reshape(high, wide)


def draw_people(
    figures: list[Figure], camera: Camera, window: Window, *, finer: int = 1, mend: bool = False
) -> Layers:
    """Draw people, `finer` times as finely and averaged; the first is the target."""
    if finer > 1:
        fine = replace(window, columns=finer * window.columns, rows=finer * window.rows)
        layers, size = draw_people(figures, camera, fine, mend=mend), (window.columns, window.rows)
        # Smooth edges where people are few pixels tall.
        areas = {f.name: getattr(layers, f.name) for f in fields(layers)}
        return Layers(
            **{name: f32(cv2.resize(a, size, interpolation=cv2.INTER_AREA)) for name, a in areas.items()}
        )
    places, normals = map(_joined, zip(*(move(figure, camera) for figure in figures), strict=True))
    index, pixel, depth = visible_points(places, normals, camera, window)
    high, wide = depth.shape
    bodies = [figure.body for figure in figures]
    albedo, gloss = _joined([body.albedo for body in bodies]), _joined([body.gloss for body in bodies])
    light = _shine(places, np.take(normals, index, axis=1), index, gloss[index], camera)
    colour = np.take(albedo, index, axis=1) * light[:3] + light[3]

    size = wide * high
    count = np.bincount(pixel, minlength=size)
    weight = 1 / np.maximum(count, 1)
    channels = [np.bincount(pixel, weights=values, minlength=size) * weight for values in colour]
    if len(figures) > 1:
        channels.append(np.bincount(pixel, weights=index < len(bodies[0]), minlength=size) * weight)
    # Any point makes a pixel covered, but only the nearest surface colours it: fill in from the neighbours.
    known = f32(count > 0).reshape(high, wide)
    cover = f32(depth < _NOBODY).reshape(high, wide)
    if mend:
        cover = closed(cover)
    image = np.stack([f32(channel).reshape(high, wide) for channel in channels], axis=-1)
    near, share = blurred(image, 1.0, size=5), blurred(known, 1.0, size=5)
    unknown = (cover > known) & (share > 0)
    image[unknown] = near[unknown] / share[unknown][:, None]
    image[..., :3] *= _crevices(depth, cover)[..., None]

    soft, edge, raw = (blurred(part, 0.6, size=3) for part in (image, unpitted(cover), cover))
    soft *= (edge / np.maximum(raw, 1e-3))[..., None]
    target = soft[..., 3] if len(figures) > 1 else edge
    inner = (slice(1, -1), slice(1, -1))
    return Layers(
        colour=np.ascontiguousarray(soft[inner][..., :3]),
        cover=np.ascontiguousarray(edge[inner]),
        target=np.ascontiguousarray(target[inner]),
        shade=_ground_shade(places, camera, window),
    )


def _joined(parts: Sequence[Array]) -> Array:
    """Points of several people, the last axis; those of one are not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def _shine(
    places: Array, normals: Array, index: npt.NDArray[np.int64], gloss: Array, camera: Camera
) -> Array:
    """Light on the seen points: factors for the albedo ``[3, m]`` and highlights, stacked to ``[4, m]``."""
    turn = camera.turn
    toward = (turn @ np.asarray(camera.light.toward)).astype(np.float32)
    up = (turn @ np.array([0, 0, 1.0])).astype(np.float32)
    direct, ambient = f32(camera.light.direct), f32(camera.light.ambient)
    lambert = np.maximum(0, (toward @ normals + np.float32(0.12)) * np.float32(1 / 1.12))
    if direct[1] > 0.3:
        lambert *= _unshadowed(places, index, toward)
    sky = np.float32(0.58) + np.float32(0.42) * (up @ normals)
    half = toward + f32([0, 0, -1])
    half /= np.float32(np.linalg.norm(half))
    glint = np.maximum(0, half @ normals)
    glint *= glint
    glint *= glint
    glint *= glint
    light = np.empty((4, len(lambert)), dtype=np.float32)
    for channel in range(3):
        light[channel] = ambient[channel] * sky + direct[channel] * lambert
    light[3] = gloss * glint * glint * direct[1] + np.float32(0.15) * gloss * sky * ambient[1]
    return light


def _unshadowed(places: Array, index: npt.NDArray[np.int64], toward: Array) -> Array:
    """1 where the light reaches a seen point, less where the person's own body is in between."""
    side = f32(np.cross(toward, f32([0.3, 1.0, 0.2])))
    side /= np.float32(np.linalg.norm(side))
    other = np.cross(toward, side).astype(np.float32)
    basis = np.stack([side / _SHADOW_CELL, other / _SHADOW_CELL, toward]).astype(np.float32)
    some = basis @ np.ascontiguousarray(places[:, ::4])
    middle = some[:2].mean(axis=1, keepdims=True) - _SHADOW_SIZE / 2

    def cells(points: Array) -> npt.NDArray[np.int64]:
        at = np.clip(points[:2] - middle, 0, _SHADOW_SIZE - 1).astype(np.int64)
        return np.asarray(at[0] * _SHADOW_SIZE + at[1])

    nearest = np.full(_SHADOW_SIZE * _SHADOW_SIZE, np.float32(-1e9), dtype=np.float32)
    np.maximum.at(nearest, cells(some), some[2])
    seen = basis @ np.take(places, index, axis=1)
    gap = nearest[cells(seen)] - seen[2]
    return np.asarray(1 - np.clip((gap - 0.05) * 20, 0, 0.92), dtype=np.float32)


def _crevices(depth: Array, cover: Array) -> Array:
    """Darker where the surroundings are nearer to the camera: between the legs, under the arms."""
    near = np.where(cover > 0, depth, np.float32(0))
    reach = max(3, depth.shape[0] // 22) | 1
    total = cv2.blur(near, (reach, reach))
    share = cv2.blur(cover, (reach, reach))
    behind = near - total / np.maximum(share, 1e-3)
    return np.asarray(1 - np.clip(behind * 4.0, 0, 0.45), dtype=np.float32)


def _ground_shade(places: Array, camera: Camera, window: Window) -> Array:
    """Shadow on the ground: the cast one along the light, and a soft one under the feet."""
    turn = camera.turn
    toward = (turn @ np.asarray(camera.light.toward)).astype(np.float32)
    up = (turn @ np.array([0, 0, 1.0])).astype(np.float32)
    rise = float(toward @ up)
    direct, ambient = camera.light.direct[1] * rise, camera.light.ambient[1]
    strength = direct / (direct + ambient)
    points = places[:, ::9]
    above = up @ points + np.float32(camera.height)
    cast = points - toward[:, None] * (above / np.float32(rise))
    under = points[:, above < 0.35]
    under = under - up[:, None] * (up @ under + np.float32(camera.height))
    rows, columns = (window.rows + 1) // 2, (window.columns + 1) // 2
    shade = np.zeros((rows, columns), dtype=np.float32)
    softness = max(0.8, rows / 90)
    for spots, dark, blur, dilate in ((cast, 0.9 * strength, softness, 3), (under, 0.5, 2.2 * softness, 5)):
        z = np.maximum(spots[2], 0.1)
        u = (spots[0] / z * camera.focal + PICTURE[0] / 2 + 0.5 - window.left) * (columns / window.width)
        v = (spots[1] / z * camera.focal + PICTURE[1] / 2 + 0.5 - window.top) * (rows / window.height)
        inside = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
        mask = np.zeros((rows, columns), dtype=np.float32)
        mask[v[inside].astype(np.int64), u[inside].astype(np.int64)] = 1
        mask = blurred(closed(mask, dilate), blur)
        shade = 1 - (1 - shade) * (1 - np.float32(dark) * mask)
    return resized(f32(shade), (window.columns, window.rows))
