"""The place a camera watches, and things that stand in the way: rays against planes, boxes, poles and balls.

The place is rendered once a camera, in the camera's own geometry, and cropped where a person walks; so the
background moves behind a walking person as it would.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from intraclip.studio.arrays import Array, Floats, Mask, blurred, f32, looked_up, resized
from intraclip.studio.camera import PICTURE, Camera
from intraclip.studio.randomness import Kind, generator

Colour = tuple[float, float, float]

_TILE = 512


@dataclass(frozen=True)
class Thing:
    """A solid in the world.

    Attributes:
        kind: ``box``, ``pole`` (an upright cylinder) or ``ball`` (an ellipsoid with leaves).
        centre: metres, world axes.
        half: half sizes along its own axes, metres; a pole uses the first as radius.
        colour: linear.
        turn: rotation about the vertical, radians.
        rough: 0 smooth, 1 leafy or dirty.
    """

    kind: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    colour: Colour
    turn: float = 0.0
    rough: float = 0.15


def render_scene(seed: int, camera: Camera) -> npt.NDArray[np.uint8]:
    """The empty place as the light leaves it, before the sensor.

    Returns:
        uint8 ``[720, 1280, 3]`` RGB, square root of linear light.
    """
    return build_scene(seed, camera)[0]


def build_scene(seed: int, camera: Camera) -> tuple[npt.NDArray[np.uint8], Array, Array, list[Thing]]:
    """`render_scene`, its depth, the depth of ground and walls alone, and the things that stand about."""
    rng = generator(seed, Kind.SCENE, camera.number)
    rays = camera.all_rays()
    picture, walls = _ground_and_wall(rng, camera, rays)
    depth, things = walls.copy(), _furniture(rng, camera)
    return with_things(rng, camera, rays, picture, depth, things), depth, walls, things


def with_things(
    rng: np.random.Generator, camera: Camera, rays: Array, picture: Array, depth: Array, things: list[Thing]
) -> npt.NDArray[np.uint8]:
    """Put things and their shadows into a place of ground and walls, whose arrays are changed; as `render_scene`."""
    _ground_shadows(camera, rays, picture, depth, things)
    leaves = _noise(rng, (_TILE, _TILE), 5)
    for thing in things:
        _draw(camera, thing, rays, (0, 0), picture, depth, leaves, None)
    soft = blurred(picture, 0.6)
    return np.asarray(np.sqrt(np.clip(soft, 0, 1.6) / 1.6) * 255 + 0.5, dtype=np.uint8)


def scene_light(coded: npt.NDArray[np.uint8]) -> Array:
    """Back from the coding of `render_scene` to linear light."""
    value = coded.astype(np.float32) * np.float32(1 / 255)
    return value * value * np.float32(1.6)


def render_things(
    camera: Camera, things: list[Thing], window: tuple[int, int, int, int], rng: np.random.Generator
) -> Array:
    """Things alone, seen through a window of the picture.

    Returns:
        float32 ``[h, w, 4]``: linear colour times coverage, and coverage.
    """
    left, top, width, height = window
    column, row = np.meshgrid(
        np.arange(left, left + width, dtype=np.float32), np.arange(top, top + height, dtype=np.float32)
    )
    rays = camera.rays(column, row)
    picture = np.zeros((height, width, 3), dtype=np.float32)
    depth = np.full((height, width), np.inf, dtype=np.float32)
    cover = np.zeros((height, width), dtype=np.float32)
    leaves = _noise(rng, (_TILE, _TILE), 5)
    for thing in things:
        _draw(camera, thing, rays, (left, top), picture, depth, leaves, cover)
    rgba = np.concatenate([picture * cover[..., None], cover[..., None]], axis=-1)
    return blurred(f32(rgba), 0.8)


def extent(camera: Camera, things: list[Thing]) -> tuple[int, int, int, int]:
    """Column, row, width and height of the part of the picture (and beyond) that things can cover."""
    seen = camera.see(np.concatenate([_corners(t, np.hypot(*t.half[:2])) for t in things]))[:, :2]
    left, top = (int(edge) for edge in np.floor(seen.min(axis=0)) - 2)
    right, bottom = (int(edge) for edge in np.ceil(seen.max(axis=0)) + 3)
    return left, top, right - left, bottom - top


def _corners(thing: Thing, reach: float) -> Floats:
    """Those ``[8, 3]`` of an upright box around a thing that reaches so far to all sides."""
    signs = np.array(list(product((-1, 1), repeat=3)))
    return np.asarray(np.array(thing.centre) + signs * [reach, reach, thing.half[2]])


def car(rng: np.random.Generator, x: float, y: float, turn: float) -> list[Thing]:
    """A car of boxes at a place on the ground."""
    paint = tuple(
        float(c) ** 2 for c in rng.choice([0.15, 0.35, 0.6, 0.85]) * np.ones(3) * rng.uniform(0.7, 1.1, 3)
    )
    cos, sin = np.cos(turn), np.sin(turn)

    def at(dx: float, dy: float, z: float) -> tuple[float, float, float]:
        return (float(x + cos * dx - sin * dy), float(y + sin * dx + cos * dy), z)

    colour: Colour = (paint[0], paint[1], paint[2])
    wheels = [
        Thing("box", at(dx, dy, 0.3), (0.31, 0.1, 0.3), (0.01, 0.01, 0.01), turn=turn)
        for dx in (-1.35, 1.35)
        for dy in (-0.8, 0.8)
    ]
    return [
        *wheels,
        Thing("box", at(0, 0, 0.6), (2.1, 0.85, 0.34), colour, turn=turn, rough=0.03),
        Thing("box", at(-0.15, 0, 1.12), (1.1, 0.75, 0.24), (0.02, 0.025, 0.03), turn=turn),
        Thing("box", at(-0.15, 0, 1.38), (0.95, 0.72, 0.03), colour, turn=turn, rough=0.03),
    ]


def occluder(rng: np.random.Generator, kind: str, x: float, y: float, size: float) -> list[Thing]:
    """Something to stand in the line of sight, x metres to the right of the camera and y away, `size` times the usual.

    It is a ``pole``, ``pillar``, ``bin``, ``bush``, ``sign``, ``railing`` or ``car``.
    """
    grey = float(rng.uniform(0.02, 0.4))
    paint: Colour = (grey * rng.uniform(0.8, 1.2), grey * rng.uniform(0.8, 1.2), grey * rng.uniform(0.8, 1.2))
    if kind == "pole":
        return [Thing("pole", (x, y, 2.5), (0.055 * size, 0.055, 2.5), paint)]
    if kind == "pillar":
        return [Thing("box", (x, y, 2.0), (0.16 * size, 0.16, 2.0), paint, turn=0.4)]
    if kind == "bin":
        tall = 0.42 * size
        return [Thing("pole", (x, y, tall), (0.26 * size, 0.26, tall), paint)]
    if kind == "bush":
        green: Colour = (0.04, 0.09, 0.025)
        return [
            Thing(
                "ball",
                (x + float(dx), y + float(dx) * 0.3, 0.45 * size),
                (0.38 * size, 0.38 * size, float(rng.uniform(0.4, 0.62)) * size),
                green,
                rough=1.0,
            )
            for dx in (-0.32 * size, 0.05, 0.34 * size)
        ]
    if kind == "sign":
        return [
            Thing("pole", (x, y, 0.9), (0.03, 0.03, 0.9), (0.3, 0.3, 0.3)),
            Thing("box", (x, y, 1.35), (0.22 * size, 0.02, 0.24 * size), paint, turn=0.2),
        ]
    if kind == "railing":
        bars = [Thing("box", (x, y, z), (0.95 * size, 0.025, 0.025), paint) for z in (0.35, 0.7, 1.05)]
        posts = [
            Thing("box", (x + float(dx) * size, y, 0.52), (0.03, 0.03, 0.52), paint)
            for dx in (-0.9, 0.0, 0.9)
        ]
        return bars + posts
    return car(rng, x, y, float(rng.normal(0, 0.15)))


# -- the place ---------------------------------------------------------------------------------------------


def on_ground(camera: Camera, rays: Array, along: float) -> tuple[Array, Array, Array]:
    """Where rays meet the ground: how far, and metres along and across the direction `along`, radians."""
    reach = f32(-camera.height / np.minimum(rays[..., 2], -1e-4))
    x, y = rays[..., 0] * reach, rays[..., 1] * reach
    cos, sin = np.float32(np.cos(along)), np.float32(np.sin(along))
    forth = y - np.float32(camera.distance)
    return reach, cos * forth - sin * x, cos * x + sin * forth


class Wall:
    """An upright plane, and where rays meet it before anything else.

    Attributes:
        hit: bool ``[h, w]``.
        across: metres along the wall.
        z: metres above the ground.
        near: distance, at most 10 km.
    """

    def __init__(
        self, camera: Camera, rays: Array, depth: Array, lean: float, away: float, tall: float
    ) -> None:
        self._light = camera.light
        self._nx, self._ny = nx, ny = float(np.sin(-lean)), float(np.cos(lean))
        facing = rays[..., 0] * nx + rays[..., 1] * ny
        self._t = np.where(facing > 1e-3, away / np.maximum(facing, 1e-3), np.inf).astype(np.float32)
        self.near = np.minimum(self._t, 1e4)
        self.z = camera.height + rays[..., 2] * self.near
        self.hit = (self._t < depth) & (self.z < tall) & (self.z > 0)
        self.across = (rays[..., 0] * ny - rays[..., 1] * nx) * self.near

    def paint(self, face: Array, picture: Array, depth: Array) -> tuple[Array, Array]:
        """Picture and depth with the wall, whose colour is `face`."""
        ambient, direct = f32(self._light.ambient), f32(self._light.direct)
        towards = max(0.0, -(self._nx * self._light.toward[0] + self._ny * self._light.toward[1]))
        corner = 1 - 0.35 * np.exp(-np.clip(self.z, 0, 9) / 0.35)
        shade = face * (ambient * 0.95 + direct * np.float32(towards)) * corner[..., None]
        return np.where(self.hit[..., None], shade, picture), np.where(self.hit, self._t, depth)


def _ground_and_wall(rng: np.random.Generator, camera: Camera, rays: Array) -> tuple[Array, Array]:
    light = camera.light
    ambient, direct = f32(light.ambient), f32(light.direct)
    flat = ambient + direct * np.float32(max(0.0, light.toward[2]))
    along = camera.walkway + float(rng.normal(0, 0.08))
    reach, u, v = on_ground(camera, rays, along)
    floors = ["tiles", "terrazzo", "carpet"] if camera.indoor else ["asphalt", "slabs", "cobbles", "concrete"]
    picture = _sample(_material(rng, str(rng.choice(floors))), u, v, reach)
    half_width = float(rng.uniform(2.2, 4.0))
    if not camera.indoor:
        verge = _material(rng, str(rng.choice(["grass", "asphalt", "slabs", "concrete"])))
        beyond = np.abs(v + 0.3) > half_width
        picture = np.where(beyond[..., None], _sample(verge, u, v, reach), picture)
        kerb = np.abs(np.abs(v + 0.3) - half_width) < 0.09
        picture = np.where(kerb[..., None], np.float32(0.33), picture)
        if rng.random() < 0.4:
            stripe = (np.abs(v - 0.6 * half_width) < 0.06) & (u % 3.0 < 1.8)
            picture = np.where(stripe[..., None], np.float32(0.6), picture)
    stains = _noise(rng, (_TILE, _TILE), 30)
    picture = picture * (
        0.82 + 0.36 * _sample(stains[..., None], f32(u * 0.25), f32(v * 0.25), f32(reach * 0.3))
    )
    picture = picture * flat

    # One wall behind, one at the side: both upright planes.
    depth = np.where(rays[..., 2] < -1e-4, reach, np.float32(np.inf)).astype(np.float32)
    sky = 0.6 * ambient if camera.indoor else f32([0.83, 0.94, 1.1])
    horizon = np.where(rays[..., 2:] < -1e-4, picture, sky)
    far = camera.distance + float(rng.uniform(2.5, 4.5) if camera.indoor else rng.uniform(4.5, 13))
    walls = [
        (float(rng.normal(0, 0.15)), far, float(rng.uniform(3, 4) if camera.indoor else rng.uniform(3.5, 9)))
    ]
    if rng.random() < (0.9 if camera.indoor else 0.5):
        side = float(rng.choice([-1, 1]))
        walls.append((side * float(rng.uniform(1.15, 1.45)), float(rng.uniform(3.5, 5.5)), 4.0))
    picture = horizon
    for lean, away, tall in walls:
        wall = Wall(camera, rays, depth, lean, away, tall)
        if wall.hit.any():
            face = _wall(rng, camera.indoor, wall.across, wall.z, wall.near)
            picture, depth = wall.paint(face, picture, depth)
    return np.ascontiguousarray(picture, dtype=np.float32), depth


def _wall(rng: np.random.Generator, indoor: bool, across: Array, z: Array, reach: Array) -> Array:
    kind = str(rng.choice(["plaster", "panels"] if indoor else ["brick", "plaster", "panels", "hedge"]))
    texture = _material(rng, kind)
    face = _sample(texture, across, z, reach)
    if kind == "hedge":
        return face
    if rng.random() < 0.75:  # windows or shop fronts
        period, share = float(rng.uniform(1.8, 3.6)), float(rng.uniform(0.4, 0.7))
        low, high = (0.25, 2.4) if rng.random() < 0.5 else (0.95, 2.3)
        cell = across / np.float32(period)
        glass = ((cell % 1) < share) & (z > low) & (z < high)
        frame = glass & (
            ((cell % 1) < 0.03) | ((cell % 1) > share - 0.03) | (z < low + 0.06) | (z > high - 0.06)
        )
        tone = rng.uniform(0.02, 0.16, 16).astype(np.float32)[np.floor(cell).astype(np.int64) % 16]
        tint = f32([0.85, 1.0, 1.1])
        reflection = tone[..., None] * tint * (0.7 + 0.5 * z[..., None] / 2.4)
        face = np.where(glass[..., None], reflection, face)
        face = np.where(frame[..., None], np.float32(rng.uniform(0.05, 0.7)), face)
    if rng.random() < 0.6:  # a darker base or a coloured band
        level, colour = float(rng.uniform(0.3, 1.1)), rng.uniform(0.05, 0.5, 3).astype(np.float32)
        face = np.where((z < level)[..., None], 0.5 * face + 0.5 * colour, face)
    return face


def _furniture(rng: np.random.Generator, camera: Camera) -> list[Thing]:
    """Loose things around the walkway, none of them in front of where people walk."""
    things: list[Thing] = []
    half_view = 0.5 * PICTURE[0] / camera.focal
    for _ in range(int(rng.integers(5, 10))):
        y = camera.distance + float(rng.uniform(1.5, 6.0))
        x = float(rng.uniform(-1, 1)) * half_view * y
        kinds = (
            ["bin", "sign", "pillar", "bench", "planter"]
            if camera.indoor
            else ["bin", "sign", "pole", "car", "tree", "bench", "bush"]
        )
        kind = str(rng.choice(kinds))
        if kind == "tree":
            tall = float(rng.uniform(2.2, 3.2))
            things.append(
                Thing("pole", (x, y, tall / 2), (0.14, 0.14, tall / 2), (0.07, 0.05, 0.035), rough=0.6)
            )
            things.append(Thing("ball", (x, y, tall + 0.9), (1.3, 1.3, 1.3), (0.05, 0.11, 0.03), rough=1.0))
        elif kind == "bench":
            wood: Colour = (0.18, 0.11, 0.06)
            turn = float(rng.uniform(-0.6, 0.6))
            things.append(Thing("box", (x, y, 0.44), (0.8, 0.22, 0.03), wood, turn=turn))
            things.append(Thing("box", (x, y, 0.21), (0.7, 0.15, 0.21), (0.05, 0.05, 0.05), turn=turn))
        elif kind == "planter":
            things.append(Thing("box", (x, y, 0.3), (0.4, 0.3, 0.3), (0.3, 0.28, 0.26), turn=0.2))
            things.append(Thing("ball", (x, y, 0.85), (0.42, 0.35, 0.4), (0.04, 0.1, 0.03), rough=1.0))
        else:
            things.extend(occluder(rng, kind, x, y + (2.0 if kind == "car" else 0.0), 1.0))
    return things


def _ground_shadows(camera: Camera, rays: Array, picture: Array, depth: Array, things: list[Thing]) -> None:
    for thing in things:
        cx, cy, cz = thing.centre
        if cz - thing.half[2] > 0.6:
            continue
        # A soft patch on the ground, a little larger than the footprint; only its own pixels are touched.
        wide = 1.6 * float(np.hypot(thing.half[0] + 0.18, thing.half[1] + 0.18))
        corners = np.array([[cx + a * wide, cy + b * wide, 0.0] for a in (-1, 1) for b in (-1, 1)])
        seen = camera.see(corners)
        if seen[:, 2].min() < 0.2:
            continue
        part = _part(seen, (0, 0), depth.shape)
        if part is None:
            continue
        ray = rays[part]
        reach = -np.float32(camera.height) / np.minimum(ray[..., 2], -1e-4)
        dx, dy = ray[..., 0] * reach - np.float32(cx), ray[..., 1] * reach - np.float32(cy)
        cos, sin = np.cos(-thing.turn), np.sin(-thing.turn)
        a = (cos * dx - sin * dy) / np.float32(thing.half[0] + 0.18)
        b = (sin * dx + cos * dy) / np.float32(thing.half[1] + 0.18)
        dark = 0.55 * np.exp(-(np.minimum(a * a + b * b, 6) ** 2))
        on_ground = np.abs(reach - depth[part]) < 1e-3
        picture[part] *= np.where(on_ground, 1 - dark, 1)[..., None].astype(np.float32)


def _part(seen: Floats, corner: tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Rows and columns that hold projected points, or None where they lie outside."""
    left, top = np.floor(seen[:, :2].min(axis=0) - corner).astype(int) - 1
    right, bottom = np.ceil(seen[:, :2].max(axis=0) - corner).astype(int) + 2
    rows, columns = slice(max(top, 0), min(bottom, shape[0])), slice(max(left, 0), min(right, shape[1]))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _draw(
    camera: Camera,
    thing: Thing,
    rays: Array,
    corner: tuple[int, int],
    picture: Array,
    depth: Array,
    leaves: Array,
    cover: Array | None,
) -> None:
    """Draw one thing into `picture`, `depth` and `cover` in place, touching only the pixels it can cover."""
    cx, cy, cz = thing.centre
    hx, hy, hz = thing.half
    seen = camera.see(_corners(thing, np.hypot(hx, hy) if thing.kind == "box" else hx))
    if seen[:, 2].min() < 0.2:
        return
    part = _part(seen, corner, depth.shape)
    if part is None:
        return
    cos, sin = float(np.cos(thing.turn)), float(np.sin(thing.turn))
    ray = rays[part]
    dx, dy, dz = cos * ray[..., 0] + sin * ray[..., 1], cos * ray[..., 1] - sin * ray[..., 0], ray[..., 2]
    ox, oy, oz = -(cos * cx + sin * cy), -(cos * cy - sin * cx), camera.height - cz
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, t, (nx, ny, nz) = _meet(thing, (dx, dy, dz), (ox, oy, oz))
    hit &= t < depth[part]
    if thing.kind == "ball":  # leaves: a ragged outline and inner gaps
        u = (np.arctan2(ny, nx) * 90 * hx).astype(np.float32) % _TILE
        v = (nz * 70 * hz).astype(np.float32) % _TILE
        leaf = looked_up(leaves, u, v)
        rim = -(dx * nx + dy * ny + dz * nz) / np.sqrt(dx * dx + dy * dy + dz * dz)
        hit &= leaf + 0.9 * rim > 0.62
    else:
        px, py, pz = (np.where(hit, d * np.where(hit, t, 0), 0) for d in (dx, dy, dz))
        scale = 1.0 / max(0.02, min(hx, hy, hz) * 0.2)
        u = f32((px + py) * min(scale, 60)) % _TILE
        v = f32(pz * 20) % _TILE
        leaf = looked_up(leaves, u, v)
    light = camera.light
    lx, ly = cos * light.toward[0] + sin * light.toward[1], cos * light.toward[1] - sin * light.toward[0]
    lambert = np.maximum(0, nx * lx + ny * ly + nz * light.toward[2])
    shade = f32(light.ambient) * (0.62 + 0.38 * nz)[..., None] + f32(light.direct) * lambert[..., None]
    dirt = 1 + thing.rough * (leaf - 0.5) * 2
    colour = f32(thing.colour) * shade * np.maximum(dirt, 0.1)[..., None]
    picture[part] = np.where(hit[..., None], colour, picture[part])
    depth[part] = np.where(hit, t, depth[part])
    if cover is not None:
        cover[part] = np.maximum(cover[part], hit.astype(np.float32))


def _meet(
    thing: Thing, ray: tuple[Array, Array, Array], start: tuple[float, float, float]
) -> tuple[Mask, Array, tuple[Array, Array, Array]]:
    """Where rays meet a thing in its own axes: hit, distance and normal."""
    (dx, dy, dz), (ox, oy, oz) = ray, start
    hx, hy, hz = thing.half
    zero = np.zeros_like(dx)
    if thing.kind == "box":
        entry, leave = [], []
        for d, o, h in ((dx, ox, hx), (dy, oy, hy), (dz, oz, hz)):
            a, b = (-h - o) / d, (h - o) / d
            entry.append(np.minimum(a, b))
            leave.append(np.maximum(a, b))
        t = np.maximum(np.maximum(entry[0], entry[1]), entry[2])
        hit = (t < np.minimum(np.minimum(leave[0], leave[1]), leave[2])) & (t > 0)
        nx = np.where(t == entry[0], -np.sign(dx), zero)
        ny = np.where((t == entry[1]) & (nx == 0), -np.sign(dy), zero)
        nz = np.where((nx == 0) & (ny == 0), -np.sign(dz), zero)
        return hit, t.astype(np.float32), (nx, ny, nz)
    if thing.kind == "pole":
        a, b, c = dx * dx + dy * dy, dx * ox + dy * oy, ox * ox + oy * oy - hx * hx
        inside = b * b - a * c
        t = (-b - np.sqrt(np.maximum(inside, 0))) / a
        z = oz + dz * t
        hit = (inside > 0) & (t > 0) & (np.abs(z) < hz)
        lid = (hz - oz) / dz
        on_lid = ((ox + dx * lid) ** 2 + (oy + dy * lid) ** 2 < hx * hx) & (lid > 0) & ~hit
        nx, ny = np.where(on_lid, 0, (ox + dx * t) / hx), np.where(on_lid, 0, (oy + dy * t) / hx)
        return hit | on_lid, np.where(on_lid, lid, t).astype(np.float32), (nx, ny, on_lid.astype(np.float32))
    ax, ay, az = dx / hx, dy / hy, dz / hz
    bx, by, bz = ox / hx, oy / hy, oz / hz
    a, b, c = ax * ax + ay * ay + az * az, ax * bx + ay * by + az * bz, bx * bx + by * by + bz * bz - 1
    inside = b * b - a * c
    t = (-b - np.sqrt(np.maximum(inside, 0))) / a
    nx, ny, nz = (bx + ax * t) / hx, (by + ay * t) / hy, (bz + az * t) / hz
    norm = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    return (inside > 0) & (t > 0), t.astype(np.float32), (nx / norm, ny / norm, nz / norm)


# -- materials ---------------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, shape: tuple[int, int], grain: int) -> Array:
    """Smooth tileable noise in 0..1 with detail at several sizes; `grain` is the largest, pixels."""
    total = np.zeros(shape, dtype=np.float32)
    weight = 0.0
    for octave in range(3):
        step = max(1, grain >> octave)
        small = rng.random((max(2, shape[0] // step), max(2, shape[1] // step)), dtype=np.float32)
        small = np.pad(small, ((0, 1), (0, 1)), mode="wrap")
        big = resized(small, (shape[1], shape[0]))
        total += big * np.float32(0.6**octave)
        weight += 0.6**octave
    return np.asarray(total / np.float32(weight), dtype=np.float32)


def _material(rng: np.random.Generator, kind: str) -> Array:
    """One texture, ``[512, 512, 3]`` linear, that covers 4 m by 4 m."""
    n = _TILE
    v, u = np.meshgrid(np.arange(n, dtype=np.float32), np.arange(n, dtype=np.float32), indexing="ij")
    fine, coarse = _noise(rng, (n, n), 2), _noise(rng, (n, n), 24)
    base = {
        "asphalt": (0.14, 0.14, 0.145),
        "concrete": (0.36, 0.35, 0.33),
        "slabs": (0.34, 0.32, 0.30),
        "cobbles": (0.24, 0.22, 0.20),
        "grass": (0.07, 0.13, 0.03),
        "hedge": (0.04, 0.08, 0.02),
        "tiles": (0.55, 0.53, 0.50),
        "terrazzo": (0.48, 0.46, 0.43),
        "carpet": (0.16, 0.16, 0.22),
        "brick": (0.30, 0.13, 0.08),
        "plaster": (0.52, 0.49, 0.43),
        "panels": (0.42, 0.43, 0.45),
    }[kind]
    tone = f32(base) * rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    roughness = {"grass": 0.9, "hedge": 1.3, "cobbles": 0.5, "terrazzo": 0.45, "asphalt": 0.5}.get(kind, 0.2)
    value = 1 + roughness * (fine - 0.5) * 1.6 + 0.35 * (coarse - 0.5)
    cell = {
        "slabs": (64, 64),
        "tiles": (64, 64),
        "cobbles": (16, 16),
        "brick": (32, 10),
        "panels": (128, 128),
    }.get(kind)
    if cell is not None:
        cu, cv_ = cell
        line = np.floor(v / cv_)
        shifted = u + (line % 2) * (cu / 2 if kind in ("brick", "cobbles") else 0)
        shades = rng.uniform(0.86, 1.12, (64, 64)).astype(np.float32)
        value = value * shades[line.astype(int) % 64, (np.floor(shifted / cu) % (n // cu)).astype(int) % 64]
        joint = (shifted % cu < 1.6) | (v % cv_ < 1.6)
        value = np.where(joint, value * (0.62 if kind != "brick" else 1.5), value)
    return np.asarray(np.maximum(value, 0.15)[..., None] * tone, dtype=np.float32)


def _sample(texture: Array, u: Array, v: Array, reach: Array) -> Array:
    """Read a texture at ground or wall positions in metres; far away it fades to its mean."""
    scale = np.float32(_TILE / 4.0)
    # Beyond 60 m everything is flat, so that remap's range of 16 bits suffices, and it wraps by itself.
    column = np.clip(u, -60, 60).astype(np.float32) * scale
    row = np.clip(v, -60, 60).astype(np.float32) * scale
    near = looked_up(texture, column, row).reshape(*u.shape, -1)
    keep = np.exp(-np.square(np.minimum(reach, 100) * np.float32(1 / 28)))[..., None]
    mean = texture.reshape(-1, texture.shape[-1]).mean(axis=0)
    return np.asarray(mean + (near - mean) * keep, dtype=np.float32)
