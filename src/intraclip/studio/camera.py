"""Cameras: where they hang, how they see, and what they do to colours.

World axes: x to the right of the camera, y away from it along the ground, z up; the camera stands above the
origin. Camera axes: x right, y down, z forward. Units are metres and pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from intraclip.studio.arrays import Array, Floats
from intraclip.studio.config import Difficulty
from intraclip.studio.randomness import Kind, generator

PICTURE = (1280, 720)
"""Width and height of what a camera sees, pixels."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """One light and what comes from everywhere else.

    Attributes:
        toward: unit vector to the light, world axes.
        direct: its colour and strength, linear.
        ambient: colour and strength of all other light.
    """

    toward: tuple[float, float, float]
    direct: tuple[float, float, float]
    ambient: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """What happens between the lens and the stored file.

    Attributes:
        gain: exposure and white balance, one factor a channel, linear.
        saturation: 1 leaves colours alone, 0 is grey.
        contrast: exponent around middle grey; 1 leaves it alone.
        haze: light that is added everywhere, 0..0.2 of white.
        blur: lens blur, pixels of the picture (standard deviation).
        noise: standard deviation at middle grey, 0..1 scale.
        sharpen: strength of the halo that cameras add.
        quality: JPEG quality of the camera's own compression.
    """

    gain: tuple[float, float, float]
    saturation: float
    contrast: float
    haze: float
    blur: float
    noise: float
    sharpen: float
    quality: int


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera and the place it watches.

    Attributes:
        height: metres above ground.
        pitch: radians downward.
        focal: pixels.
        distance: metres to where people mostly walk.
        person_pixels: how tall a 1.75 m person is there, pixels.
        walkway: direction of the walkway, radians; 0 leads away from the camera, positive turns left.
        fps: frames a second.
        roll: radians by which the picture is tilted.
    """

    number: int
    indoor: bool
    height: float
    pitch: float
    focal: float
    distance: float
    person_pixels: float
    walkway: float
    fps: float
    light: Light
    sensor: Sensor
    roll: float = 0.0

    @property
    def turn(self) -> Floats:
        """World to camera rotation ``[3, 3]``."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        level = np.array([[1, 0, 0], [0, -sin, -cos], [0, cos, -sin]])
        if self.roll == 0.0:
            return level
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        return np.asarray(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ level)

    def see(self, world: Floats) -> Floats:
        """World points ``[..., 3]`` to picture ``[..., 3]``: column, row and depth in metres."""
        seen = (world - [0, 0, self.height]) @ self.turn.T
        depth = np.maximum(seen[..., 2], 0.05)
        column = PICTURE[0] / 2 + self.focal * seen[..., 0] / depth
        row = PICTURE[1] / 2 + self.focal * seen[..., 1] / depth
        return np.stack([column, row, seen[..., 2]], axis=-1)

    def rays(self, column: Array, row: Array) -> Array:
        """World directions ``[..., 3]`` through picture positions, one metre of depth long."""
        seen = np.stack(
            [
                (column - PICTURE[0] / 2) / self.focal,
                (row - PICTURE[1] / 2) / self.focal,
                np.ones_like(column),
            ],
            axis=-1,
        )
        return np.asarray(seen @ self.turn, dtype=np.float32)

    def all_rays(self) -> Array:
        """Those of every pixel of the picture, float32 ``[720, 1280, 3]``."""
        width, height = PICTURE
        column, row = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        return self.rays(column, row)


def draw_camera(seed: int, number: int, difficulty: Difficulty) -> Camera:
    """Draw one camera."""
    rng = generator(seed, Kind.CAMERA, number)
    indoor = bool(rng.random() < 0.3)
    low = rng.random() < difficulty.low_resolution
    fine = float(rng.uniform(64, 104) if low else rng.uniform(110, 240))
    # A camera that sees people small is far from them, not a fish eye: at most 80 degrees across.
    distance = max(float(rng.uniform(5.5, 9) if indoor else rng.uniform(7, 15)), 1.75 * 760 / fine)
    height = float(rng.uniform(2.3, 3.2) if indoor else rng.uniform(2.6, 5.2))
    # Directions of the walkways are spread, so that cameras differ in the side they mostly see.
    walkway = float((number - 1) * np.deg2rad(67) + rng.uniform(-0.35, 0.35))
    return Camera(
        number=number,
        indoor=indoor,
        height=round(height, 4),
        pitch=round(float(np.arctan2(height - 0.95, distance) + rng.normal(0, 0.02)), 4),
        focal=round(fine * float(np.hypot(distance, height - 0.9)) / 1.75, 2),
        distance=round(distance, 4),
        person_pixels=round(fine, 1),
        walkway=round(walkway % (2 * np.pi), 4),
        fps=float(rng.choice([12.5, 15.0, 20.0, 25.0])),
        light=_light(rng, indoor),
        sensor=_sensor(rng, difficulty, low=bool(low), indoor=indoor),
    )


def _light(rng: np.random.Generator, indoor: bool) -> Light:
    around = rng.uniform(0, 2 * np.pi)
    up = np.deg2rad(rng.uniform(58, 80) if indoor else rng.uniform(28, 62))
    toward = (np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up))
    if indoor:
        strength, warm, around_light = rng.uniform(0.35, 0.6), rng.uniform(0.0, 0.14), rng.uniform(0.42, 0.6)
        ambient = (around_light * (1 + 0.5 * warm), around_light, around_light * (1 - 0.5 * warm))
    else:
        sunny = rng.random() < 0.55
        strength = rng.uniform(0.75, 1.1) if sunny else rng.uniform(0.1, 0.3)
        around_light = rng.uniform(0.32, 0.45) if sunny else rng.uniform(0.6, 0.8)
        warm = rng.uniform(0.02, 0.12) if sunny else 0.0
        ambient = (around_light * 0.95, around_light, around_light * 1.07)
    direct = (strength * (1 + warm), strength, strength * (1 - warm))
    return Light(toward=rounded(toward), direct=rounded(direct), ambient=rounded(ambient))


def _sensor(rng: np.random.Generator, difficulty: Difficulty, *, low: bool, indoor: bool) -> Sensor:
    cast, exposure = difficulty.colour_cast, difficulty.exposure
    balance = np.exp(rng.normal(0, 0.16 * cast, 3))
    balance /= balance.mean()
    stops = rng.normal(-0.1, 0.42 * exposure)
    gain = 1.05 * 2.0**stops * balance
    return Sensor(
        gain=rounded(gain),
        saturation=round(float(np.clip(rng.normal(0.88, 0.17 * cast), 0.35, 1.2)), 4),
        contrast=round(float(np.clip(rng.normal(1.0, 0.14 * exposure), 0.6, 1.5)), 4),
        haze=round(float(max(0.0, rng.normal(0.01, 0.03 * exposure))), 4),
        blur=round(float(rng.uniform(0.45, 0.75) if low else rng.uniform(0.5, 1.2)), 4),
        noise=round(float(difficulty.noise * rng.uniform(0.004, 0.020) * (1.3 if indoor else 1.0)), 5),
        sharpen=round(float(rng.uniform(0.0, 0.9)), 4),
        quality=int(np.clip(95 - difficulty.compression * rng.uniform(8, 55), 20, 98)),
    )


def rounded(values: Iterable[float]) -> tuple[float, float, float]:
    """Three numbers to four decimals."""
    first, second, third = (round(float(value), 4) for value in values)
    return first, second, third
