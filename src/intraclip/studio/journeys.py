"""Who walks through which camera's view, when, and along which way: paths, companions and travel times."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from intraclip.studio.arrays import Array, Floats
from intraclip.studio.camera import PICTURE
from intraclip.studio.config import VideosConfig
from intraclip.studio.gait import looks, pose_bones, walking_speed
from intraclip.studio.identity import Identity, draw_identity
from intraclip.studio.place import Place, open_place
from intraclip.studio.randomness import Kind, generator
from intraclip.studio.render import stand

_VISIT = 1000
"""Index that keeps the chance in videos apart from that in tracklets."""

_TRIES = 30
_LOOK_AHEAD = 1.2
_STEER = 1.3
"""How fast people turn away from what is ahead, radians a second."""

BRIEF_S = 2.0
"""Seconds that a camera has to film somebody, or nothing can be found there."""

_LONGEST = 40.0
"""Seconds after which a way that does not leave the view is given up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Visit:
    """One person crosses one camera's view.

    Attributes:
        pid: who.
        camid: which camera.
        first: frame at which the way begins, from 0; it may lie before the beginning of the video.
        place: ``[n, 2]`` metres on the ground, one a frame.
        heading: ``[n]`` radians; 0 leads away from the camera, positive turns left.
        speed: metres a second.
        companion: pid of the person who walks beside, or None.
    """

    pid: int
    camid: int
    first: int
    place: Floats
    heading: Floats
    speed: float
    companion: int | None

    @property
    def last(self) -> int:
        """The frame at which the way ends; it may lie after the end of the video."""
        return self.first + len(self.heading) - 1


class Way(NamedTuple):
    """Seconds from leaving one view to entering another: nobody is faster than the minimum, half take longer."""

    minimum_s: float
    usual_s: float


def draw_ways(config: VideosConfig) -> dict[tuple[int, int], Way]:
    """Travel times of every pair of cameras, the smaller number first."""
    ways = {}
    for pair in combinations(range(1, config.cameras + 1), 2):
        rng = generator(config.seed, Kind.SCHEDULE, *pair, _VISIT)
        usual = round(float(rng.uniform(*config.travel)), 1)
        ways[pair] = Way(minimum_s=round(0.6 * usual, 1), usual_s=usual)
    return ways


def plan_visits(config: VideosConfig) -> list[Visit]:
    """All visits that fall into the videos, by person and time.

    Everybody comes through two cameras or more, each once. The videos show at least half of the first two visits.
    Whoever needs longer than they last is seen once; where that would be most people, the videos show the end of the
    first visit and the beginning of the second, if there is time to walk from one to the other.
    """
    visits = _plan(config, brief=False)
    if 2 * len(recurring(config, visits)) < config.people:
        visits = _plan(config, brief=True)
    return visits


def recurring(config: VideosConfig, visits: Iterable[Visit]) -> set[int]:
    """Pids of people whom two cameras or more film for `BRIEF_S` each."""
    cameras: dict[int, set[int]] = {}
    for visit in visits:
        frames = min(visit.last, config.frames - 1) - max(visit.first, 0) + 1
        if frames >= BRIEF_S * config.fps:
            cameras.setdefault(visit.pid, set()).add(visit.camid)
    return {pid for pid, seen in cameras.items() if len(seen) > 1}


def _plan(config: VideosConfig, *, brief: bool) -> list[Visit]:
    ways = draw_ways(config)
    visits: list[Visit] = []
    pid = 1
    while pid <= config.people:
        rng = generator(config.seed, Kind.SCHEDULE, pid, _VISIT)
        pair = pid < config.people and rng.random() < config.together / (2 - config.together)
        visits += _journey(config, ways, rng, pid, with_companion=bool(pair), brief=brief)
        pid += 2 if pair else 1
    return sorted(
        (v for v in visits if v.last >= 0 and v.first < config.frames), key=lambda v: (v.pid, v.first)
    )


def pose(config: VideosConfig, visit: Visit, who: Identity) -> Array:
    """The bones of the person of a visit, float32 ``[n, bones, 3, 4]``, world axes."""
    rng = generator(config.seed, Kind.TRACKLET, visit.pid, visit.camid, _VISIT + 1)
    time = np.arange(len(visit.heading)) / config.fps
    # Who adapts the speed to somebody else takes faster or slower steps, so that feet do not slide.
    cadence = who.gait.cadence * visit.speed / walking_speed(who.build, who.gait)
    look = looks(rng, time)
    bones = pose_bones(who.build, who.gait, who.extras, rng.random() + cadence * time, look)
    return stand(bones, visit.place, visit.heading)


def _journey(
    config: VideosConfig,
    ways: dict[tuple[int, int], Way],
    rng: np.random.Generator,
    pid: int,
    *,
    with_companion: bool,
    brief: bool,
) -> list[Visit]:
    who = draw_identity(config.seed, pid, config.difficulty)
    speed = walking_speed(who.build, who.gait) * float(rng.normal(1, 0.05))
    count = 2 + int(rng.binomial(config.cameras - 2, 0.6))
    route = [int(c) + 1 for c in rng.permutation(config.cameras)[:count]]
    paths, begins, clock = [], [], 0
    for number, camid in enumerate(route):
        if number:
            a, b = sorted((route[number - 1], camid))
            way = ways[a, b]
            gap = way.minimum_s + (way.usual_s - way.minimum_s) * float(np.exp(0.4 * rng.standard_normal()))
            clock += int(np.ceil(gap * config.fps)) + 1
        path = _path(config, open_place(config.seed, camid, config.difficulty), pid, speed)
        paths.append(path)
        begins.append(clock)
        clock += len(path[1])
    earliest = -len(paths[0][1]) // 2
    latest = config.frames - begins[1] - len(paths[1][1]) // 2
    if brief:  # the end of the first visit, and the beginning of the second
        moment = math.ceil(BRIEF_S * config.fps)
        earliest, latest = moment - len(paths[0][1]), config.frames - moment - begins[1]
    begin = int(rng.integers(earliest, max(earliest, latest) + 1))
    if latest < earliest:  # the video is too short for both: the middle of one of them is in it
        one = int(rng.integers(0, 2))
        begin = int(rng.integers(0, config.frames)) - begins[one] - len(paths[one][1]) // 2
    visits = []
    for camid, offset, (place, heading) in zip(route, begins, paths, strict=True):
        mine = Visit(
            pid=pid,
            camid=camid,
            first=begin + offset,
            place=place,
            heading=heading,
            speed=speed,
            companion=pid + 1 if with_companion else None,
        )
        visits.append(mine)
        if with_companion:
            spot = open_place(config.seed, camid, config.difficulty)
            beside = _beside(rng, spot, place, heading)
            visits.append(replace(mine, pid=pid + 1, place=beside, companion=pid))
    return visits


def _beside(rng: np.random.Generator, spot: Place, place: Floats, heading: Floats) -> Floats:
    """Where a companion walks: at the side with more room."""
    right = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    ahead = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    side = float(rng.choice([-1, 1]) * rng.uniform(0.5, 0.75))
    offset = float(rng.uniform(-0.35, 0.35))
    choices = [place + sign * side * right + offset * ahead for sign in (1, -1)]
    return max(choices, key=lambda choice: int(spot.walkable(choice).sum()))


def _path(config: VideosConfig, spot: Place, pid: int, speed: float) -> tuple[Floats, Floats]:
    """A way into the view, through its middle and out again: places and headings, one a frame.

    Of several that are drawn, the first one is taken that never meets a wall or a thing, else the one that does
    least.
    """
    camera = spot.camera
    rng = generator(config.seed, Kind.TRACKLET, pid, camera.number, _VISIT)
    best: tuple[Floats, Floats] | None = None
    fewest = float("inf")
    for attempt in range(_TRIES):
        y = camera.distance * rng.uniform(0.75, 1.2)
        x = rng.uniform(-0.35, 0.35) * PICTURE[0] / camera.focal * y
        heading = camera.walkway + np.pi * rng.integers(0, 2)
        heading += rng.normal(0, 0.25) + config.difficulty.viewpoint * rng.uniform(-1.6, 1.6)
        bend = float(rng.normal(0, 0.03))
        turns = rng.choice([-1, 1], 2)
        middle = np.array([x, y])
        if not spot.walkable(middle):
            continue
        onward = _half(spot, middle, float(heading), speed, config.fps, bend, int(turns[0]))
        back = _half(spot, middle, float(heading) + np.pi, speed, config.fps, -bend, int(turns[1]))
        if onward is None or back is None:
            continue
        place = np.concatenate([back[0][::-1], middle[None], onward[0]])
        directions = np.concatenate([back[1][::-1] + np.pi, [heading], onward[1]])
        bumps = int((spot.sees(place) & ~spot.walkable(place)).sum())
        # Places have walls: after many tries something that only grazes one has to do.
        if bumps < fewest:
            best, fewest = (place, directions), bumps
        if bumps <= attempt // 10:
            break
    if best is None:  # a view so narrow that nobody gets out of it: straight through
        return _straight(spot, speed, config.fps)
    return best


def _half(
    spot: Place, start: Floats, heading: float, speed: float, fps: float, bend: float, turn: int
) -> tuple[Floats, Floats] | None:
    """Walk until out of view, away from walls and things; None if that takes too long."""
    step, steer = speed / fps, _STEER / fps
    x, y = start.tolist()
    way: list[tuple[float, float, float]] = []

    def blocked(aside: float) -> bool:
        direction = heading + aside
        return not spot.about(x - _LOOK_AHEAD * math.sin(direction), y + _LOOK_AHEAD * math.cos(direction))[0]

    for _ in range(int(_LONGEST * fps / 2)):
        heading += bend / fps
        if blocked(0.0):
            heading += steer * (-turn if blocked(0.5 * turn) and not blocked(-0.5 * turn) else turn)
        x, y = x - step * math.sin(heading), y + step * math.cos(heading)
        way.append((x, y, heading))
        if not spot.about(x, y)[1]:
            found = np.array(way)
            return found[:, :2], found[:, 2]
    return None


def _straight(spot: Place, speed: float, fps: float) -> tuple[Floats, Floats]:
    """From the left edge of the view to the right, at the usual distance."""
    y = spot.camera.distance
    reach = 0.5 * PICTURE[0] / spot.camera.focal * y + 1.5
    x = np.arange(-reach, reach, speed / fps)
    return np.stack([x, np.full_like(x, y)], axis=1), np.full(len(x), -np.pi / 2)
