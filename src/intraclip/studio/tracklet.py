"""One tracklet: who walks where, seen by which camera, with which nuisances; and its frames."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from intraclip.studio.arrays import Array, Floats, Mask, Picture, f32, resized
from intraclip.studio.body import Body, build_body
from intraclip.studio.camera import PICTURE, Camera, draw_camera
from intraclip.studio.config import BenchmarkConfig, Difficulty
from intraclip.studio.gait import looks, pose_bones, walking_speed
from intraclip.studio.identity import Identity, draw_identity
from intraclip.studio.randomness import Kind, generator
from intraclip.studio.render import Figure, Layers, Window, draw_people, move, stand
from intraclip.studio.scene import extent, occluder, render_scene, render_things, scene_light
from intraclip.studio.sensor import expose, noise_atlas

_FEW_ROWS = 116
"""Up to this height people are drawn at twice the resolution and averaged."""

_MOST_ROWS = 184
"""Taller boxes are drawn in this many rows: crops of real surveillance cameras hold no more detail."""

_SPACING = 0.7
"""Distance between points, pixels; holes that single pixels may have are filled."""

STRANGER = 1_000_000
"""True identities from here on walk through other people's tracklets and have no own."""


@dataclass(frozen=True, kw_only=True)
class TrackletPlan:
    """What to render; small, so that it travels to a worker.

    Attributes:
        name: the tracklet's name in the layout.
        pid: the pid it is stored under.
        identity: the true identity.
        index: counts the tracklets of this person in this camera, from 0.
        files: where each frame goes, relative to the root.
        split: ``train``, ``query``, ``gallery`` or ``all``.
    """

    name: str
    pid: int
    identity: int
    camid: int
    index: int
    frames: int
    files: tuple[str, ...]
    split: str


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A rendered tracklet.

    Attributes:
        frames: uint8 ``[n, H, W, 3]`` RGB.
        silhouettes: bool ``[n, H, W]``, True where the target person is seen.
        view_angle: degrees in the middle of the tracklet, -180..180: 0 walks towards the camera, 180 away from
            it, 90 shows the person's right side, -90 the left.
    """

    frames: Picture
    silhouettes: Mask
    view_angle: float
    nuisances: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A path and a pose over time.

    Attributes:
        place: ``[n, 2]`` metres.
        heading: ``[n]`` radians; 0 leads away from the camera.
        bones: float32 ``[n, bones, 3, 4]`` in world axes.
    """

    place: Floats
    heading: Floats
    bones: Array


@lru_cache(maxsize=8)
def _place(seed: int, number: int, difficulty: Difficulty) -> tuple[Camera, Picture, Array]:
    """A camera, its empty scene and its grain: once a process."""
    camera = draw_camera(seed, number, difficulty)
    return camera, render_scene(seed, camera), noise_atlas(generator(seed, Kind.NOISE, number))


@lru_cache(maxsize=32)
def _outline(seed: int, number: int, difficulty: Difficulty) -> Body:
    """A person in few points, enough to find boxes with."""
    return build_body(draw_identity(seed, number, difficulty), 0.05, generator(seed, Kind.BODY, number))


def render_tracklet(plan: TrackletPlan, config: BenchmarkConfig) -> Rendered:
    """Render one tracklet."""
    cv2.setNumThreads(0)
    difficulty = config.difficulty
    camera, scene, atlas = _place(config.seed, plan.camid, difficulty)
    rng = generator(config.seed, Kind.TRACKLET, plan.identity, plan.camid, plan.index)
    target = draw_identity(config.seed, plan.identity, difficulty)
    walk = draw_walk(rng, camera, target, plan.frames, difficulty)
    nuisances: list[str] = []

    junk = plan.pid < 0
    coarse = _outline(config.seed, plan.identity, difficulty)
    boxes = _boxes(rng, camera, coarse, walk, config, junk=junk, nuisances=nuisances)
    rows = int(np.clip(np.round(np.median(boxes[:, 3])), 40, min(_MOST_ROWS, config.height)))
    columns = max(16, round(rows * config.width / config.height))
    windows = windows_of(boxes, columns, rows)
    depth = camera.see(np.append(walk.place, np.full((plan.frames, 1), 0.9), axis=1))[:, 2]
    finer = 2 if rows <= _FEW_ROWS else 1
    pixel = float(np.min(depth / camera.focal * np.minimum(boxes[:, 3] / rows, boxes[:, 2] / columns)))
    spacing = _SPACING * pixel / (1.0 if finer == 1 else 1.7)  # averaging hides holes
    body = build_body(target, spacing, generator(config.seed, Kind.BODY, plan.identity))
    crowd = [(body, walk)]
    other = _second(rng, config, camera, target, walk, spacing, nuisances)
    if other is not None:
        crowd.append(other)
    blocker = draw_blocker(rng, camera, walk, boxes, difficulty, nuisances)
    gains = draw_lighting(rng, plan.frames, difficulty, nuisances)
    smear = draw_smear(rng, camera, walk, windows, difficulty, nuisances)

    frames = np.empty((plan.frames, config.height, config.width, 3), dtype=np.uint8)
    silhouettes = np.empty((plan.frames, config.height, config.width), dtype=np.bool_)
    size = (config.width, config.height)
    for i, window in enumerate(windows):
        layers = draw_people(figures_in(crowd, i), camera, window, finer=finer)
        if smear is not None:
            layers = smeared(layers, smear[i])
        light, own = compose(scene, window, layers, in_front(blocker, i, window))
        picture = expose(light, camera.sensor, rows / window.height, gains[i], atlas, rng)
        if (columns, rows) != size:
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
            own = resized(own, size)
        frames[i] = picture
        silhouettes[i] = own > 0.5
    middle = plan.frames // 2
    x, y = walk.place[middle]
    angle = np.rad2deg(walk.heading[middle] + np.arctan2(x, y)) + 180.0
    return Rendered(
        frames=frames,
        silhouettes=silhouettes,
        view_angle=round(float((angle + 180) % 360 - 180), 1),
        nuisances=tuple(nuisances),
    )


def windows_of(boxes: Floats, columns: int, rows: int) -> list[Window]:
    """Windows of boxes ``[n, 4]`` (left, top, width, height) that are drawn in as many columns and rows."""
    return [
        Window(left=left, top=top, width=width, height=height, columns=columns, rows=rows)
        for left, top, width, height in boxes
    ]


def figures_in(crowd: list[tuple[Body, Walk]], frame: int) -> list[Figure]:
    """People as they are in one frame."""
    return [Figure(body=person, bones=path.bones[frame]) for person, path in crowd]


# -- where people walk -------------------------------------------------------------------------------------


def draw_walk(
    rng: np.random.Generator, camera: Camera, who: Identity, frames: int, difficulty: Difficulty
) -> Walk:
    """A way through the camera's view, with both ends in the picture if there is one."""
    speed = walking_speed(who.build, who.gait) * float(rng.normal(1, 0.05))
    time = (np.arange(frames) - (frames - 1) / 2) / camera.fps
    sense = np.pi * rng.integers(0, 2)
    for _ in range(40):
        y = camera.distance * rng.uniform(0.82, 1.25)
        x = rng.uniform(-0.32, 0.32) * PICTURE[0] / camera.focal * y
        middle = camera.walkway + sense + rng.normal(0, 0.12) + difficulty.viewpoint * rng.uniform(-1.6, 1.6)
        heading = middle + rng.normal(0, 0.2) * time
        step = np.stack([-np.sin(heading), np.cos(heading)], axis=1) * speed / camera.fps
        place = np.cumsum(step, axis=0)
        place += np.array([x, y]) - place.mean(axis=0)
        ends = place[[0, -1]]
        feet = camera.see(np.append(ends, np.zeros((2, 1)), axis=1))
        heads = camera.see(np.append(ends, np.full((2, 1), who.build.height), axis=1))
        seen = np.concatenate([feet, heads])
        margin = 0.25 * (feet[:, 1] - heads[:, 1]).max()
        if (
            seen[:, 0].min() > margin
            and seen[:, 0].max() < PICTURE[0] - margin
            and seen[:, 1].min() > 0
            and seen[:, 1].max() < PICTURE[1]
        ):
            break
    return posed(rng, who, camera, place, heading)


def posed(rng: np.random.Generator, who: Identity, camera: Camera, place: Floats, heading: Floats) -> Walk:
    """Bones of a person who walks along `place` ``[n, 2]``, turned by `heading` ``[n]``."""
    n = len(heading)
    time = np.arange(n) / camera.fps
    phase = rng.random() + who.gait.cadence * time
    look = looks(rng, time)
    bones = pose_bones(who.build, who.gait, who.extras, phase, look)
    return Walk(place=place, heading=heading, bones=stand(bones, place, heading))


def _boxes(
    rng: np.random.Generator,
    camera: Camera,
    body: Body,
    walk: Walk,
    config: BenchmarkConfig,
    *,
    junk: bool,
    nuisances: list[str],
) -> Floats:
    """Detected boxes ``[n, 4]``: left, top, width and height in the picture."""
    difficulty, n = config.difficulty, len(walk.heading)
    extent = tight_boxes(camera, body, walk, every=2)
    centre = (extent[:, :2] + extent[:, 2:]) / 2
    tall = extent[:, 3] - extent[:, 1]
    centre, tall = smoothed(centre, 5), smoothed(tall[:, None], 9)[:, 0]  # as a tracker would
    loose = 0.06 + 0.1 * difficulty.loose_box * abs(rng.normal())
    if loose > 0.2:
        nuisances.append("loose box")
    height = tall * (1 + loose)
    width = height * config.width / config.height * rng.uniform(0.88, 1.08)
    drift = wander(rng, n, 3) * [0.025, 0.02, 0.03] * difficulty.drift
    if np.abs(drift[:, :2]).max() > 0.06:
        nuisances.append("drift")
    shake = rng.normal(0, 0.01 * difficulty.jitter, (n, 3))
    error = drift + shake
    if junk:
        kind = str(rng.choice(["background", "part", "half", "tiny"]))
        nuisances.append(f"junk: {kind}")
        side = rng.choice([-1, 1])
        if kind == "background":
            error[:, 0] += side * 0.75
        elif kind == "half":
            error[:, 0] += side * 0.34
        elif kind == "part":
            height, width = height * 0.5, width * 0.6
            error[:, 1] += side * 0.5
        else:
            height, width = height * 1.9, width * 1.9
            error[:, 0] += side * 0.2
    scale = np.exp(error[:, 2])
    height, width = height * scale, width * scale
    centre = centre + error[:, :2] * height[:, None]
    return np.stack([centre[:, 0] - width / 2, centre[:, 1] - height / 2, width, height], axis=1)


def tight_boxes(camera: Camera, body: Body, walk: Walk, *, every: int) -> Floats:
    """Tight boxes ``[n, 4]``: left, top, right and bottom in the picture, by one of `every` points."""
    found = np.empty((len(walk.heading), 4))
    for i in range(len(found)):
        x, y, z = move(Figure(body=body, bones=walk.bones[i]), camera, every=every)[0]
        u, v = PICTURE[0] / 2 + camera.focal * x / z, PICTURE[1] / 2 + camera.focal * y / z
        found[i] = u.min(), v.min(), u.max(), v.max()
    return found


def smoothed(values: Floats, reach: int) -> Floats:
    """Running mean over `reach` rows of ``[n, k]``."""
    pad = reach // 2
    padded = np.pad(values, ((pad, pad), (0, 0)), mode="edge")
    return np.asarray(
        np.stack([padded[i : i + len(values)] for i in range(reach)]).mean(axis=0), dtype=np.float64
    )


def wander(rng: np.random.Generator, n: int, columns: int) -> Floats:
    """Slow random walk of unit deviation that forgets in about ten frames."""
    keep = 0.9
    steps = rng.normal(0, 1, (n, columns))
    out = np.empty((n, columns))
    out[0] = steps[0]
    for i in range(1, n):
        out[i] = keep * out[i - 1] + np.sqrt(1 - keep * keep) * steps[i]
    return out


# -- nuisances ---------------------------------------------------------------------------------------------


def _second(
    rng: np.random.Generator,
    config: BenchmarkConfig,
    camera: Camera,
    target: Identity,
    walk: Walk,
    spacing: float,
    nuisances: list[str],
) -> tuple[Body, Walk] | None:
    """Somebody beside, behind or in front of the target."""
    if rng.random() >= config.difficulty.second_person:
        return None
    nuisances.append("second person")
    number = STRANGER + int(rng.integers(0, 1_000_000))
    who = draw_identity(config.seed, number, config.difficulty)
    sight, across = line_of_sight(walk)
    offset = across * rng.choice([-1, 1]) * rng.uniform(0.3, 0.62) + sight * rng.choice(
        [-1, 1]
    ) * rng.uniform(0.35, 1.1)
    place, heading = passing(rng, walk, offset, who, camera, turn=0.5)
    body = build_body(who, spacing * 1.2, generator(config.seed, Kind.BODY, number))
    return body, posed(rng, who, camera, place, heading)


def line_of_sight(walk: Walk) -> tuple[Floats, Floats]:
    """Unit vectors from the camera to where a walk has its middle, and across that."""
    spot = walk.place[len(walk.heading) // 2]
    sight = spot / np.linalg.norm(spot)
    return sight, np.array([sight[1], -sight[0]])


def passing(
    rng: np.random.Generator, walk: Walk, offset: Floats, who: Identity, camera: Camera, *, turn: float
) -> tuple[Floats, Floats]:
    """Place and heading of somebody who walks along with another one, or crosses that way."""
    n, middle = len(walk.heading), len(walk.heading) // 2
    if rng.random() < 0.6:  # walks along
        heading = walk.heading + rng.normal(0, 0.08)
        return walk.place + offset, heading
    heading = walk.heading + np.pi + rng.normal(0, turn)
    speed = walking_speed(who.build, who.gait)
    time = (np.arange(n) - rng.uniform(0.2, 0.8) * n) / camera.fps
    ahead = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    return walk.place[middle] + offset + ahead * (speed * time)[:, None], heading


@dataclass(frozen=True, kw_only=True)
class _Blocker:
    """Something in front: an image with coverage, and where its corner is in the picture, frame by frame."""

    image: Array
    corner: Floats


def draw_blocker(
    rng: np.random.Generator,
    camera: Camera,
    walk: Walk,
    boxes: Floats,
    difficulty: Difficulty,
    nuisances: list[str],
) -> _Blocker | None:
    """Something between the camera and the person, or None; how often is `difficulty.occluder`."""
    if rng.random() >= difficulty.occluder:
        return None
    kinds = (
        ["pillar", "bin", "sign", "railing"]
        if camera.indoor
        else ["pole", "bin", "bush", "sign", "railing", "car"]
    )
    kind = str(rng.choice(kinds))
    frame = int(rng.uniform(0.1, 0.9) * (len(walk.place) - 1))
    away = float(np.linalg.norm(walk.place[frame]))
    gap = rng.uniform(0.5, 2.2) if kind in ("pole", "pillar", "sign") else rng.uniform(0.4, 0.9)
    gap = 1.5 if kind == "car" else gap
    x, y = walk.place[frame] * (away - gap) / away
    things = occluder(rng, kind, float(x), float(y), difficulty.occluder_size * float(rng.uniform(0.8, 1.2)))
    left, top, width, height = extent(camera, things)
    step = 0.0
    if kind == "car":  # drives by; everything else stands, and the person walks past it
        step = float(rng.choice([-1, 1]) * rng.uniform(3, 7) * camera.focal / away / camera.fps)
    else:  # what no box ever shows need not be drawn
        low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
        right, bottom = min(left + width, int(high[0]) + 3), min(top + height, int(high[1]) + 3)
        left, top = max(left, int(low[0]) - 3), max(top, int(low[1]) - 3)
        width, height = right - left, bottom - top
    if width < 2 or height < 2:
        return None
    nuisances.append(f"occluder: {kind}")
    corner = np.array([left, top]) + np.outer(np.arange(len(boxes)) - frame, [step, 0.0])
    return _Blocker(image=render_things(camera, things, (left, top, width, height), rng), corner=corner)


def in_front(blocker: _Blocker | None, frame: int, window: Window) -> Array | None:
    """What stands in front, in a window: ``[rows, columns, 4]`` colour times coverage, and coverage."""
    if blocker is None:
        return None
    corner = (float(blocker.corner[frame, 0]), float(blocker.corner[frame, 1]))
    size = (window.columns, window.rows)
    return f32(cv2.warpAffine(blocker.image, window.affine(corner), size, flags=cv2.INTER_LINEAR))


def draw_lighting(rng: np.random.Generator, n: int, difficulty: Difficulty, nuisances: list[str]) -> Floats:
    """Factors ``[n, 3]`` on the light of each frame."""
    if rng.random() >= difficulty.lighting_change:
        return np.ones((n, 3))
    nuisances.append("lighting change")
    stops = rng.choice([-1, 1]) * difficulty.lighting_strength * rng.uniform(0.35, 1.0)
    warmth = difficulty.lighting_strength * rng.normal(0, 0.08)
    when, width = rng.uniform(0.2, 0.8) * n, rng.uniform(1.0, 6.0)
    ramp = 1 / (1 + np.exp(-(np.arange(n) - when) / width)) - 0.5
    return np.asarray(2.0 ** (stops * ramp[:, None]) * np.exp(ramp[:, None] * [warmth, 0, -warmth]))


def draw_smear(
    rng: np.random.Generator,
    camera: Camera,
    walk: Walk,
    windows: list[Window],
    difficulty: Difficulty,
    nuisances: list[str],
) -> Floats | None:
    """How far the person moves during one exposure ``[n, 2]``, raster pixels."""
    if rng.random() >= difficulty.motion_blur:
        return None
    nuisances.append("motion blur")
    chest = camera.see(np.append(walk.place, np.full((len(walk.place), 1), 1.2), axis=1))[:, :2]
    speed = np.gradient(chest, axis=0) * camera.fps
    speed[:, 1] += rng.normal(0, 40)  # bobbing, and cameras that shake
    scale = np.array([[w.columns / w.width, w.rows / w.height] for w in windows])
    exposure = difficulty.motion_blur_length * rng.uniform(0.6, 1.4) / 30
    return np.asarray(speed * scale * exposure)


def smeared(layers: Layers, motion: Floats) -> Layers:
    """People blurred along their motion ``[2]``, raster pixels."""
    length = float(np.hypot(*motion))
    if length < 1.2:
        return layers
    motion = motion * min(1.0, 14 / length)
    reach = int(np.ceil(np.abs(motion).max() / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.float32)
    ends = [tuple(round(reach + sign * m / 2) for m in motion) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    kernel /= kernel.sum()
    packed = np.dstack([layers.colour, layers.cover])
    packed = f32(cv2.filter2D(packed, -1, kernel))
    return Layers(
        colour=packed[..., :3],
        cover=packed[..., 3],
        target=f32(cv2.filter2D(layers.target, -1, kernel)),
        shade=layers.shade,
    )


def compose(scene: Picture, window: Window, layers: Layers, front: Array | None) -> tuple[Array, Array]:
    """Background, people and what stands in front: linear light and the target's coverage."""
    size = (window.columns, window.rows)
    behind = cv2.warpAffine(
        scene, window.affine(), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    light = scene_light(np.asarray(behind, dtype=np.uint8))
    light *= (1 - layers.shade)[..., None] * (1 - layers.cover)[..., None]
    light += layers.colour
    own = layers.target
    if front is not None:
        through = 1 - front[..., 3]
        light = light * through[..., None] + front[..., :3]
        own = own * through
    return light, own
