"""Places of the diverse preset: grounds in strips, walls and clutter in natural colours, things and bystanders."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from intraclip.studio import scene
from intraclip.studio.arrays import Array, Picture, f32
from intraclip.studio.camera import PICTURE, Camera
from intraclip.studio.identity import _pick
from intraclip.studio.randomness import Kind, generator
from intraclip.studio.scene import Thing

_GROUNDS = {
    "asphalt": 0.26,
    "concrete": 0.20,
    "slabs": 0.20,
    "cobbles": 0.10,
    "brick": 0.10,
    "grass": 0.06,
    "tiles": 0.04,
    "terrazzo": 0.03,
}
_FLOORS = {"tiles": 0.34, "terrazzo": 0.22, "carpet": 0.18, "concrete": 0.14, "slabs": 0.12}

_INDOORS = ("bin", "sign", "pillar", "box", "board", "ball")
_OUTDOORS = (
    "bin", "sign", "pole", "car", "car", "bush", "bush", "box", "board", "railing", "trunk", "umbrella",
)  # fmt: skip
"""Things that stand about, each as often as it is named."""


def render_diverse_place(seed: int, camera: Camera) -> Picture:
    """The empty place as the light leaves it, coded as `scene.render_scene` codes it.

    Returns:
        uint8 ``[720, 1280, 3]`` RGB, square root of linear light.
    """
    rng = generator(seed, Kind.DIVERSE_PLACE, camera.number)
    rays = camera.all_rays()
    picture, depth = _ground(rng, camera, rays)
    picture, depth = _walls(rng, camera, rays, picture, depth)
    return scene.with_things(rng, camera, rays, picture, depth, _furniture(rng, camera))


def clutter(rng: np.random.Generator, *, green: float, count: int = 420) -> Array:
    """Shapes of all sizes that hide one another, float32 ``[512, 512, 3]`` linear: what is behind people in streets.

    Sizes follow a power law, as in dead-leaves models of natural pictures, so that edges come at every scale.
    """
    size = 512
    image = np.full((size, size, 3), rng.uniform(0.02, 0.3), dtype=np.float32)
    radius = np.sort(np.clip(4.5 / np.maximum(rng.random(count), 0.02) ** 0.9, 4, 150))[::-1]
    for r in radius:
        x, y = rng.uniform(0, size, 2)
        leafy = rng.random() < green
        colour = _natural(rng, leafy)
        if leafy:
            axes = (int(max(2, r * 0.5)), int(max(1, r * rng.uniform(0.15, 0.45))))
            cv2.ellipse(image, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
        elif rng.random() < 0.75:
            w, h = r * np.exp(rng.normal(0, 0.7)), r * np.exp(rng.normal(0.2, 0.7))
            left, top = int(x - w / 2), int(y - h / 2)
            cv2.rectangle(image, (left, top), (int(left + w), int(top + h)), colour, -1)
            if rng.random() < 0.3:  # a frame or a shadow beside it
                edge = tuple(0.4 * c for c in colour)
                cv2.rectangle(
                    image, (left, top), (int(left + w), int(top + h)), edge, int(rng.integers(1, 4))
                )
        else:
            ends = np.array([[x, y], [x + rng.normal(0, r * 2), y + rng.normal(0, r * 2)]]).astype(int)
            cv2.line(
                image, tuple(map(int, ends[0])), tuple(map(int, ends[1])), colour, int(rng.integers(1, 6))
            )
    shade = scene._noise(rng, (size, size), 60) * 0.8 + 0.6
    fine = scene._noise(rng, (size, size), 3) + 0.5
    return f32(image * (shade * fine)[..., None])


def _natural(rng: np.random.Generator, leafy: bool) -> tuple[float, float, float]:
    """A colour of streets, linear."""
    if leafy:
        value = np.exp(rng.normal(-2.6, 0.7))
        rgb = value * np.array([rng.uniform(0.65, 1.15), 1.0, rng.uniform(0.3, 0.8)])
    else:
        value = np.exp(rng.normal(-1.5, 1.0))
        warm = rng.normal(0.05, 0.16)
        rgb = value * np.array([1 + warm, 1.0 + rng.normal(0, 0.04), 1 - warm])
        if rng.random() < 0.05:
            rgb = value * np.array(rng.dirichlet([0.5, 0.5, 0.5])) * 3
    red, green, blue = (float(c) for c in np.clip(rgb, 0.004, 0.9))
    return red, green, blue


def _tinted(rng: np.random.Generator, kind: str) -> Array:
    texture = scene._material(rng, kind)
    warm = rng.normal(0.02, 0.04)
    factor = np.exp(rng.normal(0.2, 0.4)) * np.array([1 + warm, 1.0, 1 - warm])
    if kind in ("grass", "hedge"):  # from fresh to dry
        factor = factor * np.array([rng.uniform(1.0, 2.2), 1.0, rng.uniform(1.2, 2.4)])
    if kind in ("brick", "slabs", "tiles") and rng.random() < 0.3:
        factor = factor * np.array([rng.uniform(1.0, 1.4), 1.0, rng.uniform(0.6, 1.0)])
    return f32(np.minimum(texture * f32(factor), np.float32(0.85)))


def _ground(rng: np.random.Generator, camera: Camera, rays: Array) -> tuple[Array, Array]:
    light = camera.light
    flat = f32(light.ambient) + f32(light.direct) * np.float32(max(0.0, light.toward[2]))
    along = float(rng.uniform(0, np.pi))
    reach, u, v = scene.on_ground(camera, rays, along)
    kinds = _FLOORS if camera.indoor else _GROUNDS
    grain = np.float32(np.exp(rng.normal(0, 0.35)))
    picture = scene._sample(_tinted(rng, _pick(rng, kinds)), u * grain, v * grain, reach)
    for side in (-1, 1):
        edge = side * float(rng.uniform(0.4, 4.0))
        if rng.random() < (0.35 if camera.indoor else 0.7):
            other = scene._sample(_tinted(rng, _pick(rng, kinds)), v, u, reach)
            beyond = (v > edge) if side > 0 else (v < edge)
            picture = np.where(beyond[..., None], other, picture)
            if rng.random() < 0.6:
                kerb = np.abs(v - edge) < rng.uniform(0.04, 0.2)
                picture = np.where(kerb[..., None], np.float32(rng.uniform(0.05, 0.6)), picture)
    if rng.random() < 0.35:  # painted lines, a crossing, rails
        period, share, wide = rng.uniform(0.8, 4), rng.uniform(0.3, 0.7), rng.uniform(0.05, 0.3)
        if rng.random() < 0.4:
            wide = rng.uniform(1.0, 2.5)
            period = rng.uniform(0.8, 1.2)
        line = (np.abs(v - rng.uniform(-2, 2)) < wide) & (u % np.float32(period) < share * period)
        picture = np.where(line[..., None], f32(rng.choice([0.65, 0.5, 0.03])) * f32([1, 1, rng.choice([1, 0.4])]),
                           picture)  # fmt: skip
    stains = scene._noise(rng, (scene._TILE, scene._TILE), 30)[..., None]
    depth = np.float32(rng.uniform(0.2, 0.7))
    picture = picture * (
        1 - depth / 2 + depth * scene._sample(stains, f32(u * 0.25), f32(v * 0.25), f32(reach * 0.3))
    )
    sunny = light.direct[1] > 1.3 * light.ambient[1] and not camera.indoor
    if sunny and rng.random() < 0.6:  # shadows of trees and houses
        hard = scene._noise(rng, (scene._TILE, scene._TILE), int(rng.choice([20, 60, 120])))[..., None]
        k = np.float32(rng.uniform(0.15, 0.6))
        dark = scene._sample(hard, f32(u * k), f32(v * k), f32(reach * 0.3))
        lit = np.clip((dark - np.float32(rng.uniform(0.42, 0.55))) * 14 + 0.5, 0, 1)
        part = np.float32(light.ambient[1] / flat[1])
        picture = picture * (part + (1 - part) * lit)
    picture = picture * flat
    sky = 0.5 * f32(light.ambient) if camera.indoor else flat * f32([0.8, 0.9, 1.05])
    away = np.where(rays[..., 2] < -1e-4, reach, np.float32(np.inf)).astype(np.float32)
    picture = np.where(rays[..., 2:] < -1e-4, picture, sky)
    return np.ascontiguousarray(picture, dtype=np.float32), away


def _walls(
    rng: np.random.Generator, camera: Camera, rays: Array, picture: Array, depth: Array
) -> tuple[Array, Array]:
    far = camera.distance + float(rng.uniform(1.5, 4.5) if camera.indoor else rng.gamma(2.0, 3.0) + 1.5)
    walls = [
        (float(rng.normal(0, 0.35)), far, float(rng.uniform(2.6, 4) if camera.indoor else rng.uniform(1, 9)))
    ]
    if rng.random() < 0.6:
        side = float(rng.choice([-1, 1]))
        walls.append(
            (side * float(rng.uniform(0.7, 1.45)), float(rng.uniform(3.5, 9)), float(rng.uniform(1, 6)))
        )
    if rng.random() < 0.5 and not camera.indoor:  # a hedge, a fence, parked things before the wall
        walls.append(
            (float(rng.normal(0, 0.2)), far - float(rng.uniform(0.5, 1.2)), float(rng.uniform(0.5, 1.5)))
        )
    for lean, away, tall in walls:
        # Where the person walks nothing stands.
        away = max(away, camera.distance * float(np.cos(lean)) + 1.2) if abs(lean) < 0.6 else away
        wall = scene.Wall(camera, rays, depth, lean, away, tall)
        if not wall.hit.any():
            continue
        if rng.random() < 0.38:
            face = scene._wall(rng, camera.indoor, wall.across, wall.z, wall.near)
            factor = np.exp(rng.normal(0, 0.4)) * (1 + rng.normal(0, 0.12, 3))
            face = face * f32(np.clip(factor, 0.2, 1.7))
            face = face + np.float32(rng.uniform(0.2, 0.8)) * (face.mean(axis=-1, keepdims=True) - face)
        else:
            k = np.float32(rng.uniform(0.5, 1.6))
            texture = clutter(rng, green=0.0 if camera.indoor else float(rng.choice([0.0, 0.3, 1.0])))
            face = scene._sample(texture, f32(wall.across * k), f32(wall.z * k), f32(wall.near * 0.5))
        picture, depth = wall.paint(np.minimum(face, 0.9), picture, depth)
    return np.ascontiguousarray(picture, dtype=np.float32), depth


def _furniture(rng: np.random.Generator, camera: Camera) -> list[Thing]:
    """Things behind and beside where people walk, some of them in strong colours."""
    things: list[Thing] = []
    half_view = 0.5 * PICTURE[0] / camera.focal
    kinds = _INDOORS if camera.indoor else _OUTDOORS
    for _ in range(int(rng.integers(4, 15))):
        y = camera.distance * float(rng.uniform(1.15, 1.9)) + 1.0
        x = float(rng.uniform(-1, 1)) * half_view * y
        kind = str(rng.choice(kinds))
        colour = _natural(rng, False)
        turn = float(rng.uniform(-1.5, 1.5))
        if kind == "box":
            a, b, c = rng.uniform(0.15, 0.8, 3).tolist()
            half = (a, b, c)
            things.append(Thing("box", (x, y, half[2]), half, colour, turn=turn, rough=0.3))
        elif kind == "board":
            z = float(rng.uniform(0.8, 2.0))
            half = (float(rng.uniform(0.3, 1.2)), 0.03, float(rng.uniform(0.2, 0.7)))
            things.append(Thing("box", (x, y, z), half, colour, turn=0.3 * turn))
        elif kind == "trunk":
            r = float(rng.uniform(0.1, 0.3))
            things.append(Thing("pole", (x, y, 2.5), (r, r, 2.5), (0.08, 0.06, 0.045), rough=0.8))
        elif kind == "umbrella":
            things.append(Thing("pole", (x, y, 1.1), (0.03, 0.03, 1.1), (0.4, 0.4, 0.4)))
            half = (1.3, 1.3, 0.25)
            things.append(Thing("ball", (x, y, 2.2), half, colour, rough=0.1))
        elif kind == "ball":
            half = (0.4, 0.4, 0.6)
            things.append(Thing("ball", (x, y, 0.8), half, (0.05, 0.12, 0.03), rough=1.0))
        else:
            made = scene.occluder(
                rng, kind, x, y + (2.0 if kind == "car" else 0.0), float(rng.uniform(0.8, 1.5))
            )
            if kind == "bush":
                green = _natural(rng, True)
                made = [replace(thing, colour=green) for thing in made]
            things.extend(made)
    return things
