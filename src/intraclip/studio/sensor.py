"""From light to a stored picture: lens, exposure, colours, noise, sharpening and compression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from intraclip.studio.arrays import Array, Floats, Picture, blurred, f32
from intraclip.studio.camera import Sensor

_ATLAS = 384


def noise_atlas(rng: np.random.Generator) -> Array:
    """Grain to cut pieces from, float32 ``[384, 384, 3]`` of unit deviation: mostly the same in all channels."""
    grey = rng.standard_normal((_ATLAS, _ATLAS, 1), dtype=np.float32)
    colour = rng.standard_normal((_ATLAS, _ATLAS, 3), dtype=np.float32)
    colour = cv2.GaussianBlur(colour, (3, 3), 0.7, borderType=cv2.BORDER_REFLECT) * np.float32(1.6)
    return np.asarray(0.8 * grey + 0.5 * colour, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Film(Sensor):
    """A sensor with the faults of cheap cameras.

    Attributes:
        black: what is cut off at the dark end, 0..0.15 of white.
        chroma: how much coarser colour is than brightness; 1 is equal.
        halo: width of the sharpening's halo, pixels.
        upscaling: OpenCV's number of the interpolation to the frame's size.
        stretch: width of a picture's pixel over its height, as it is stored.
    """

    black: float
    chroma: int
    halo: float
    upscaling: int
    stretch: float


def expose(
    light: Array,
    sensor: Sensor,
    scale: float,
    gain: Floats,
    atlas: Array,
    rng: np.random.Generator,
) -> Picture:
    """One frame as the camera stores it; uint8 ``[h, w, 3]`` RGB, after the camera's own compression.

    `light` is float32 ``[h, w, 3]`` linear, and blur shrinks with `scale`, raster pixels per picture pixel. `gain`
    ``[3]`` are extra factors, such as a change of light; pieces of `atlas`, of `noise_atlas`, are the grain.
    """
    sigma = sensor.blur * scale
    if sigma > 0.3:
        light = blurred(light, sigma)
    grey = np.full((3, 3), 1 / 3) * (1 - sensor.saturation) + np.eye(3) * sensor.saturation
    matrix = grey * (np.asarray(sensor.gain) * gain)[None, :]
    value = f32(cv2.transform(light, matrix)) + np.float32(sensor.haze)
    value = _cheap_tone(value, sensor) if isinstance(sensor, Film) else _tone(value, sensor)
    height, width = value.shape[:2]
    y, x = (int(rng.integers(0, _ATLAS - size + 1)) if size < _ATLAS else 0 for size in (height, width))
    grain = atlas[y : y + height, x : x + width]
    if grain.shape[:2] != value.shape[:2]:
        grain = np.pad(
            grain, ((0, height - grain.shape[0]), (0, width - grain.shape[1]), (0, 0)), mode="wrap"
        )
    value += grain * np.float32(sensor.noise)
    if sensor.sharpen > 0.05:
        halo = sensor.halo if isinstance(sensor, Film) else 1.1
        value += np.float32(sensor.sharpen) * (value - blurred(value, halo))
    picture = np.clip(value * 255 + 0.5, 0, 255).astype(np.uint8)
    if isinstance(sensor, Film) and sensor.chroma > 1:
        split = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
        small = (max(4, width // sensor.chroma), max(4, height // sensor.chroma))
        colour = cv2.resize(split[..., 1:], small, interpolation=cv2.INTER_AREA)
        split[..., 1:] = cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR)
        picture = np.asarray(cv2.cvtColor(split, cv2.COLOR_YCrCb2RGB), dtype=np.uint8)
    packed = simplejpeg.encode_jpeg(picture, quality=sensor.quality, colorspace="RGB", colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(packed, colorspace="RGB"), dtype=np.uint8)


def _tone(value: Array, sensor: Sensor) -> Array:
    """Square root as tone curve, then contrast around middle grey, in one power; bent at the bright end."""
    np.clip(value, 1e-5, 4.0, out=value)
    value = f32(cv2.pow(value, 0.5 * sensor.contrast))
    value *= np.float32(0.5 ** (1 - sensor.contrast))
    return _bent(value, 0.75)


def _cheap_tone(value: Array, film: Film) -> Array:
    """Square root; steeper in the middle, cut at the dark end, bent at the bright one."""
    np.clip(value, 0, 4.0, out=value)
    np.sqrt(value, out=value)
    value *= np.float32(film.contrast)
    value += np.float32(0.3 * (1 - film.contrast) - film.black)
    return _bent(value, 0.85)


def _bent(value: Array, knee: float) -> Array:
    np.minimum(value, knee + (1 - knee) * np.tanh((value - knee) * 4), out=value, where=value > knee)
    return value
