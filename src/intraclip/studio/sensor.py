"""From light to a stored picture: lens, exposure, colours, noise, sharpening and compression."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from intraclip.studio.arrays import Array, blurred, f32
from intraclip.studio.camera import Sensor

_ATLAS = 384


def noise_atlas(rng: np.random.Generator) -> Array:
    """Grain to cut pieces from, float32 ``[384, 384, 3]`` of unit deviation: mostly the same in all channels."""
    grey = rng.standard_normal((_ATLAS, _ATLAS, 1), dtype=np.float32)
    colour = rng.standard_normal((_ATLAS, _ATLAS, 3), dtype=np.float32)
    colour = cv2.GaussianBlur(colour, (3, 3), 0.7, borderType=cv2.BORDER_REFLECT) * np.float32(1.6)
    return np.asarray(0.8 * grey + 0.5 * colour, dtype=np.float32)


def expose(
    light: Array,
    sensor: Sensor,
    scale: float,
    gain: npt.NDArray[np.float64],
    atlas: Array,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """One frame as the camera stores it; uint8 ``[h, w, 3]`` RGB, after the camera's own compression.

    Args:
        light: float32 ``[h, w, 3]`` linear.
        sensor: the camera's.
        scale: raster pixels per picture pixel; blur shrinks with it.
        gain: ``[3]`` extra factors, such as a change of light.
        atlas: from `noise_atlas`.
        rng: where the grain comes from.
    """
    sigma = sensor.blur * scale
    if sigma > 0.3:
        light = blurred(light, sigma)
    grey = np.full((3, 3), 1 / 3) * (1 - sensor.saturation) + np.eye(3) * sensor.saturation
    matrix = grey * (np.asarray(sensor.gain) * gain)[None, :]
    value = f32(cv2.transform(light, matrix)) + np.float32(sensor.haze)
    np.clip(value, 1e-5, 4.0, out=value)
    # Square root as tone curve, then contrast around middle grey, in one power.
    value = f32(cv2.pow(value, 0.5 * sensor.contrast))
    value *= np.float32(0.5 ** (1 - sensor.contrast))
    np.minimum(value, 0.75 + 0.25 * np.tanh((value - 0.75) * 4), out=value, where=value > 0.75)
    height, width = value.shape[:2]
    y, x = (int(rng.integers(0, _ATLAS - size + 1)) if size < _ATLAS else 0 for size in (height, width))
    grain = atlas[y : y + height, x : x + width]
    if grain.shape[:2] != value.shape[:2]:
        grain = np.pad(
            grain, ((0, height - grain.shape[0]), (0, width - grain.shape[1]), (0, 0)), mode="wrap"
        )
    value += grain * np.float32(sensor.noise)
    if sensor.sharpen > 0.05:
        value += np.float32(sensor.sharpen) * (value - blurred(value, 1.1))
    picture = np.clip(value * 255 + 0.5, 0, 255).astype(np.uint8)
    packed = simplejpeg.encode_jpeg(picture, quality=sensor.quality, colorspace="RGB", colorsubsampling="420")
    return np.asarray(simplejpeg.decode_jpeg(packed, colorspace="RGB"), dtype=np.uint8)
