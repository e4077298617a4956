"""Typed doors to numpy and OpenCV, which otherwise return "some array"."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_NEIGHBOURS = np.ones((3, 3), dtype=np.uint8)


def f32(values: npt.ArrayLike) -> Array:
    """As float32, without a copy where it already is."""
    return np.asarray(values, dtype=np.float32)


def blurred(image: Array, sigma: float, *, size: int = 0) -> Array:
    """Gaussian blur; `size` 0 lets the deviation decide how far it reaches."""
    return f32(cv2.GaussianBlur(image, (size, size), sigma))


def unpitted(mask: Array) -> Array:
    """Fill single holes of a 0/1 mask: at least seven of nine neighbours fill one. Gaps stay open."""
    return np.maximum(mask, f32(cv2.blur(mask, (3, 3)) > 6.5 / 9))


def closed(mask: Array, size: int = 3) -> Array:
    """Fill holes and gaps up to about `size` pixels."""
    kernel = _NEIGHBOURS if size == 3 else np.ones((size, size), dtype=np.uint8)
    return f32(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel))


def lowest_near(image: Array) -> Array:
    """Minimum over each pixel and its eight neighbours."""
    return f32(cv2.erode(image, _NEIGHBOURS))


def resized(image: Array, size: tuple[int, int]) -> Array:
    """Bilinear, to width and height."""
    return f32(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def looked_up(texture: Array, column: Array, row: Array) -> Array:
    """Read a tile at any position, repeated in both directions, bilinear."""
    return f32(cv2.remap(texture, f32(column), f32(row), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))
