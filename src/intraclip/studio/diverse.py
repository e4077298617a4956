"""The diverse preset: many people, each in a few of many cameras, as arrays or as a folder.

It is for learning; the benchmark of `make.py` is for measuring. Everything is drawn by the seed, what it is and its
number, so any number of processes gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from itertools import islice
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from intraclip.core.processes import process_count, processes
from intraclip.studio.arrays import Array, Floats, Picture, f32
from intraclip.studio.body import Body, build_body
from intraclip.studio.camera import Camera
from intraclip.studio.config import Difficulty, Diverse, DiverseConfig
from intraclip.studio.diverse_camera import draw_diverse_camera
from intraclip.studio.diverse_person import draw_diverse_identity
from intraclip.studio.diverse_place import render_diverse_place
from intraclip.studio.identity import Identity
from intraclip.studio.randomness import Kind, generator
from intraclip.studio.render import draw_people
from intraclip.studio.scene import render_scene, scene_light
from intraclip.studio.sensor import Film, expose, noise_atlas
from intraclip.studio.tracklet import (
    STRANGER,
    Walk,
    compose,
    draw_blocker,
    draw_lighting,
    draw_smear,
    draw_walk,
    figures_in,
    in_front,
    line_of_sight,
    passing,
    posed,
    smeared,
    smoothed,
    tight_boxes,
    wander,
    windows_of,
)

Result = TypeVar("Result")

_FEW_ROWS = 116
_SPACING = 0.88

_STRANGERS = 14
_STANDING = 0.1
_LEAST_VISIBLE = 0.45
_STEP = 0.2

_MIDDLE = 0.40
"""Linear brightness that cameras expose the middle of their picture for."""

_DEFAULT = Difficulty()


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One person in one camera.

    Attributes:
        pid: who, from 1.
        camid: where, from 1.
        index: which visit of this person, from 0.
    """

    pid: int
    camid: int
    index: int


@dataclass(frozen=True, kw_only=True)
class RenderedVisit:
    """One visit, n frames.

    Attributes:
        frames: uint8 ``[n, H, W, 3]`` RGB.
        visible: float32 ``[n]`` share of the person in the box that no thing hides.
        area: float32 ``[n]`` share of the frame that shows the person.
        inside: float32 ``[n]`` share of the person's height and width that the box holds.
        angles: float32 ``[n]`` degrees, -180..180: 0 walks towards the camera, 180 away from it.
    """

    frames: Picture
    visible: Array
    area: Array
    inside: Array
    angles: Array


@dataclass(frozen=True, kw_only=True)
class DiverseArrays(RenderedVisit):
    """Visits one after the other, ordered by person, visit and time.

    Attributes:
        pids: int32 ``[n]``, from 1.
        camids: int32 ``[n]``, from 1.
        tracklets: int32 ``[n]``, from 0: one number for each visit.
    """

    pids: npt.NDArray[np.int32]
    camids: npt.NDArray[np.int32]
    tracklets: npt.NDArray[np.int32]


def plan_visits(config: DiverseConfig) -> list[Visit]:
    """All visits, ordered by person. Cameras are dealt out like cards, so that all are used equally often."""
    together = max(1, config.cameras // config.visits)
    visits = []
    for pid in range(1, config.identities + 1):
        deal, place = divmod(pid - 1, together)
        cards = generator(config.seed, Kind.DIVERSE_SCHEDULE, deal).permutation(config.cameras)
        for index in range(config.visits):
            visits.append(Visit(pid=pid, camid=int(cards[place * config.visits + index]) + 1, index=index))
    return visits


def render_arrays(
    config: DiverseConfig,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DiverseArrays:
    """Render a whole set into memory.

    Takes ``identities * visits * frames * height * width * 3`` bytes: 4.6 GB for 120,000 frames of 160 x 80.
    """
    visits = plan_visits(config)
    n = len(visits) * config.frames
    arrays = DiverseArrays(
        frames=np.empty((n, config.height, config.width, 3), dtype=np.uint8),
        pids=np.repeat(np.array([visit.pid for visit in visits], dtype=np.int32), config.frames),
        camids=np.repeat(np.array([visit.camid for visit in visits], dtype=np.int32), config.frames),
        tracklets=np.repeat(np.arange(len(visits), dtype=np.int32), config.frames),
        **{name: np.empty(n, dtype=np.float32) for name in ("visible", "area", "inside", "angles")},
    )
    done = 0
    for numbers, rendered in by_camera(visits, partial(_batch, config=config), workers):
        for number, part in zip(numbers, rendered, strict=True):
            span = slice(number * config.frames, (number + 1) * config.frames)
            for column in fields(part):
                getattr(arrays, column.name)[span] = getattr(part, column.name)
        done += len(numbers) * config.frames
        if progress is not None:
            progress(done, n)
    return arrays


def by_camera(
    visits: list[Visit], work: Callable[[list[Visit]], Result], workers: int | None
) -> Iterator[tuple[list[int], Result]]:
    """Do all visits of a camera together, as its place is drawn once a process.

    Yields:
        the numbers of the visits, and what `work` gave, in the order in which they are done.
    """
    grouped: dict[int, list[int]] = {}
    for number, visit in enumerate(visits):
        grouped.setdefault(visit.camid, []).append(number)
    batches = [grouped[camid] for camid in sorted(grouped)]
    count = process_count(workers, len(batches))
    if count == 1:
        for numbers in batches:
            yield numbers, work([visits[number] for number in numbers])
        return
    with processes(count, doing="renders") as pool:
        # Few at a time are under way, so that finished ones do not pile up in memory.
        running: dict[Future[Result], list[int]] = {}
        waiting = iter(batches)
        for numbers in islice(waiting, 2 * count):
            running[pool.submit(work, [visits[number] for number in numbers])] = numbers
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                numbers = running.pop(future)
                for following in islice(waiting, 1):
                    running[pool.submit(work, [visits[number] for number in following])] = following
                yield numbers, future.result()


def _batch(visits: list[Visit], *, config: DiverseConfig) -> list[RenderedVisit]:
    return [render_visit(visit, config) for visit in visits]


# -- one visit ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _place(seed: int, number: int, diverse: Diverse) -> tuple[Camera, Picture, Array]:
    camera = draw_diverse_camera(seed, number, diverse)
    picture = render_diverse_place(seed, camera) if diverse.places else render_scene(seed, camera)
    if diverse.light:
        # A camera exposes for what it sees, mostly.
        seen = float(np.mean(scene_light(picture[240::8, 160:-160:8]) @ f32([0.3, 0.6, 0.1])))
        gain = np.asarray(camera.sensor.gain) * (_MIDDLE / max(seen, 0.01)) ** 0.9
        sensor = replace(camera.sensor, gain=(float(gain[0]), float(gain[1]), float(gain[2])))
        camera = replace(camera, sensor=sensor)
    return camera, picture, noise_atlas(generator(seed, Kind.NOISE, number))


@lru_cache(maxsize=48)
def _stranger(seed: int, number: int, diverse: Diverse, step: int) -> Body:
    """Strangers come again in their camera, and their bodies in steps of fineness, so that they are laid out once."""
    who = draw_diverse_identity(seed, number, diverse)
    return build_body(who, 1.2 * float(np.exp(_STEP * step)), generator(seed, Kind.BODY, number))


def render_visit(visit: Visit, config: DiverseConfig) -> RenderedVisit:
    """Render one visit."""
    cv2.setNumThreads(0)
    diverse, n = config.diverse, config.frames
    camera, place, atlas = _place(config.seed, visit.camid, diverse)
    # One generator for each step: what one group draws does not move the others.
    steps = (
        generator(config.seed, Kind.DIVERSE_VISIT, visit.pid, visit.camid, visit.index, step)
        for step in range(7)
    )
    walking, boxing, weaving, company, hiding, lighting, rng = steps
    who = draw_diverse_identity(config.seed, visit.pid, diverse)
    difficulty = replace(
        _DEFAULT,
        viewpoint=1.0 if diverse.cameras else _DEFAULT.viewpoint,
        occluder=0.14 if diverse.places else _DEFAULT.occluder,
    )
    if walking.random() < _STANDING and diverse.outfits:
        who = replace(who, gait=replace(who.gait, stride=0.04, arm_swing=2.0, sway=0.5))
    walk = draw_walk(walking, camera, who, n, difficulty)
    depth = camera.see(np.append(walk.place, np.full((n, 1), 0.9), axis=1))[:, 2]
    # How fine a body must be hangs on its boxes, and these hang on the body: a guess of its height comes first.
    guess = _guessed_height(camera, who, walk)
    density = min(1.0, config.height / guess)  # of the raster, relative to the picture
    finer = 2 if density * guess <= _FEW_ROWS else 1
    spacing = max(
        0.004, _SPACING * float(np.min(depth)) / camera.focal / density / (1.0 if finer == 1 else 1.7)
    )
    body = build_body(who, spacing, generator(config.seed, Kind.BODY, visit.pid))
    extent = tight_boxes(camera, body, walk, every=7)
    boxes, ratio = _boxes(boxing, extent, config, camera)
    rows = int(np.clip(np.round(np.median(boxes[:, 3]) * density), 24, config.height))
    columns = max(16, round(rows * ratio))
    windows = windows_of(boxes, columns, rows)
    if diverse.outfits:
        body = _woven(weaving, body)
    crowd = [(body, walk), *_others(company, config, camera, walk, spacing)]
    blocker = draw_blocker(hiding, camera, walk, boxes, difficulty, [])
    gains = draw_lighting(lighting, n, difficulty, [])
    if diverse.light:
        gains = gains * 2.0 ** lighting.normal(0, 0.2) * np.exp(lighting.normal(0, 0.03, 3))
    smear = draw_smear(rng, camera, walk, windows, difficulty, [])

    frames = np.empty((n, config.height, config.width, 3), dtype=np.uint8)
    visible, area = np.ones(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
    size = (config.width, config.height)
    sensor = camera.sensor
    how = sensor.upscaling if isinstance(sensor, Film) else cv2.INTER_LINEAR
    for i, window in enumerate(windows):
        layers = draw_people(figures_in(crowd, i), camera, window, finer=finer, mend=True)
        if smear is not None:
            layers = smeared(layers, smear[i])
        before = float(layers.target.sum())
        light, own = compose(place, window, layers, in_front(blocker, i, window))
        if blocker is not None and own.sum() < _LEAST_VISIBLE * before:  # nothing could be learned from it
            light, own = compose(place, window, layers, None)
        picture = expose(light, sensor, rows / window.height, gains[i], atlas, rng)
        if (columns, rows) != size:
            picture = np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)
        frames[i] = picture
        visible[i] = float(own.sum()) / max(before, 1e-6)
        area[i] = float(own.mean())
    x, y = walk.place.T
    angle = np.rad2deg(walk.heading + np.arctan2(x, y))
    return RenderedVisit(
        frames=frames,
        visible=visible,
        area=area,
        inside=_inside(extent, boxes),
        angles=f32((angle + 360) % 360 - 180),
    )


def _guessed_height(camera: Camera, who: Identity, walk: Walk) -> float:
    """How tall a person is in the picture, about, in pixels."""
    n = len(walk.heading)
    feet = camera.see(np.append(walk.place, np.zeros((n, 1)), axis=1))
    head = camera.see(np.append(walk.place, np.full((n, 1), who.build.height), axis=1))
    upright = np.abs(feet[:, 1] - head[:, 1])
    return float(np.median(upright + 0.45 * camera.focal / feet[:, 2] * abs(np.sin(camera.pitch))))


def _woven(rng: np.random.Generator, body: Body) -> Body:
    """Cloth is never even: grain from point to point, and wear and folds at the scale of a hand."""
    shade = np.float32(1) + rng.standard_normal(len(body), dtype=np.float32) * np.float32(
        rng.uniform(0.02, 0.14)
    )
    waves = rng.normal(0, 1, (5, 3)) * rng.uniform(6, 42, (5, 1))
    phases, strength = rng.uniform(0, 6.28, 5), np.float32(rng.uniform(0.06, 0.2))
    rest = np.concatenate([group.place.reshape(-1, 4, group.place.shape[1]).sum(axis=0)[:3] for group in body.groups],
                          axis=1)  # fmt: skip
    bend = np.sin(f32(waves) @ rest + f32(phases)[:, None])
    shade *= np.exp(strength * (bend[0] + bend[1] * bend[2] + bend[3] * bend[4]))
    return replace(
        body, albedo=np.minimum(body.albedo * np.maximum(shade, np.float32(0.2)), np.float32(0.98))
    )


def _inside(extent: Floats, boxes: Floats) -> Array:
    low = np.maximum(extent[:, :2], boxes[:, :2])
    high = np.minimum(extent[:, 2:], boxes[:, :2] + boxes[:, 2:])
    share = np.clip(high - low, 0, None) / np.maximum(extent[:, 2:] - extent[:, :2], 1e-6)
    return f32(share.prod(axis=1))


def _boxes(
    rng: np.random.Generator, extent: Floats, config: DiverseConfig, camera: Camera
) -> tuple[Floats, float]:
    """Boxes as a detector cuts them ``[n, 4]``, and their usual width over height."""
    n = len(extent)
    tall, wide = extent[:, 3] - extent[:, 1], extent[:, 2] - extent[:, 0]
    centre = (extent[:, :2] + extent[:, 2:]) / 2
    frame = config.width / config.height
    if not config.diverse.cameras:
        tall = smoothed(tall[:, None], 9)[:, 0]
        height = tall * (1 + 0.06 + 0.1 * abs(rng.normal()))
        width = height * frame * rng.uniform(0.88, 1.08)
        drift = wander(rng, n, 3) * [0.025, 0.02, 0.03] + rng.normal(0, 0.01, (n, 3))
    else:
        margin = np.clip(rng.normal(0.04, 0.05), -0.06, 0.3)
        height = tall * (1 + margin)
        if rng.random() < 0.45:  # fitted to the person in both directions, and stretched to the frame
            width = np.maximum(smoothed(wide[:, None], 5)[:, 0] * (1 + np.clip(rng.normal(0.08, 0.08), -0.1, 0.5)),
                               0.28 * height)  # fmt: skip
        else:
            width = height * frame * np.exp(rng.normal(-0.03, 0.1))
        drift = wander(rng, n, 3) * [0.02, 0.015, 0.025] + rng.normal(0, 0.012, (n, 3))
        kind = rng.random()
        if kind < 0.09:  # feet or legs are cut off
            cut = rng.uniform(0.08, 0.38)
            centre[:, 1] -= 0.5 * cut * tall
            height = height * (1 - cut)
        elif kind < 0.12:  # the head is
            cut = rng.uniform(0.05, 0.15)
            centre[:, 1] += 0.5 * cut * tall
            height = height * (1 - cut)
        elif kind < 0.20:  # far too large
            grow = rng.uniform(1.15, 1.5)
            height, width = height * grow, width * grow
            centre += rng.uniform(-0.12, 0.12, 2) * tall[:, None]
        elif kind < 0.24:  # a side is cut off
            centre[:, 0] += rng.choice([-1, 1]) * rng.uniform(0.15, 0.3) * wide
        if isinstance(camera.sensor, Film):
            width = width / camera.sensor.stretch
    scale = np.exp(drift[:, 2])
    height, width = height * scale, width * scale
    centre = centre + drift[:, :2] * height[:, None]
    ratio = float(np.clip(np.median(width / height), 0.25, 1.2))
    return np.stack([centre[:, 0] - width / 2, centre[:, 1] - height / 2, width, height], axis=1), ratio


def _others(
    rng: np.random.Generator, config: DiverseConfig, camera: Camera, walk: Walk, spacing: float
) -> list[tuple[Body, Walk]]:
    """People beside, behind and in front of the target."""
    places = config.diverse.places
    count = int(rng.choice([0, 1, 2, 3], p=[0.58, 0.26, 0.11, 0.05] if places else [0.8, 0.2, 0, 0]))
    found = []
    n = len(walk.heading)
    sight, across = line_of_sight(walk)
    for _ in range(count):
        number = STRANGER + 100 * camera.number + int(rng.integers(0, _STRANGERS))
        who: Identity = draw_diverse_identity(config.seed, number, config.diverse)
        behind = rng.random() < (0.72 if places else 0.5)
        if behind:
            offset = across * rng.uniform(-1.0, 1.0) + sight * rng.uniform(0.45, 3.5)
        else:
            offset = across * rng.choice([-1, 1]) * rng.uniform(0.36, 0.75) - sight * rng.uniform(0.3, 1.0)
        spot, heading = passing(rng, walk, offset, who, camera, turn=0.6)
        # Nobody comes nearer to the camera than a metre.
        if camera.see(np.append(spot, np.full((n, 1), 1.0), axis=1))[:, 2].min() < 1.0:
            continue
        body = _stranger(config.seed, number, config.diverse, int(np.floor(np.log(spacing) / _STEP)))
        found.append((body, posed(rng, who, camera, spot, heading)))
    return found
