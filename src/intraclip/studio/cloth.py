"""Colours of the surface: patterns, logo, straps, face. All of them are functions of the rest position."""

from __future__ import annotations

import numpy as np

from intraclip.studio.arrays import Array, Mask
from intraclip.studio.identity import Colour, Extras, Head, Outfit


def linear(rgb: Colour) -> Array:
    """Linear light (square law) of an sRGB colour, ``[3]``.

    >>> linear((1.0, 0.5, 0.0)).tolist()
    [1.0, 0.25, 0.0]
    """
    return np.asarray(rgb, dtype=np.float32) ** 2


def pattern(outfit: Outfit, z: Array, around: Array, *, sleeve: bool) -> Array:
    """Colour of the top, ``[3, n]`` linear, at heights `z` ``[n]`` in a 1.75 m body.

    `around` is the distance around the body or the arm, metres; 0 at the front.
    """
    first, second = linear(outfit.first.rgb)[:, None], linear(outfit.second.rgb)[:, None]
    share = np.zeros_like(z)
    if outfit.pattern == "stripes":
        share = _band(z, 0.052, 0.45)
    elif outfit.pattern == "wide stripes":
        share = _band(z, 0.15, 0.5)
    elif outfit.pattern == "pinstripes":
        share = _band(around, 0.045, 0.3)
    elif outfit.pattern == "checks":
        share = 0.5 * (_band(z, 0.085, 0.45) + _band(around, 0.085, 0.45))
    elif outfit.pattern == "block":
        share = (z > 1.26).astype(np.float32)
    elif outfit.pattern == "sleeves":
        share = np.full_like(z, float(sleeve))
    elif outfit.pattern == "band":
        share = (np.abs(z - 1.21) < 0.05).astype(np.float32)
    elif outfit.pattern == "dots":
        row = np.floor(z / 0.07)
        u = (around / 0.07 + 0.5 * (row % 2)) % 1 - 0.5
        v = z / 0.07 - row - 0.5
        share = (u * u + v * v < 0.07).astype(np.float32)
    elif outfit.pattern == "heather":
        share = (
            np.sin(z * np.float32(2137.0) + around * np.float32(1713.0) + 9 * np.sin(around * 619)) * 0.5
            + 0.5
        )
    elif outfit.pattern == "floral":
        share = (_wavy(z, around, 46.0) > 0.22).astype(np.float32)
    elif outfit.pattern == "blotches":
        share = (_wavy(z, around, 17.0) > 0.0).astype(np.float32)
    return first + (second - first) * share


def logo(extras: Extras, x: Array, z: Array) -> Mask:
    """Which points of the chest the logo covers, ``[n]``: x to the right, metres, z in a 1.75 m body."""
    dz = z - 1.27
    mask: Mask = np.zeros(x.shape, dtype=np.bool_)
    if extras.logo == "disc":
        mask = np.hypot(x, dz) < 0.075
    elif extras.logo == "square":
        mask = (np.abs(x) < 0.07) & (np.abs(dz) < 0.07)
    elif extras.logo == "bar":
        mask = (np.abs(x) < 0.115) & (np.abs(dz) < 0.03)
    elif extras.logo == "letters":
        column = x / 0.05 % 1
        hole = (column > 0.2) & (column < 0.42) & (np.abs(dz) < 0.022)
        mask = (np.abs(x) < 0.11) & (np.abs(dz) < 0.042) & (column < 0.62) & ~hole
    elif extras.logo == "badge":
        mask = np.hypot(x + 0.075, dz - 0.02) < 0.036
    return mask


def straps(extras: Extras, x: Array, y: Array, z: Array) -> Mask:
    """Which points of the trunk a bag's straps cover; x and y in metres, z as in a 1.75 m body."""
    mask: Mask = np.zeros(x.shape, dtype=np.bool_)
    if extras.bag == "backpack":
        mask = (np.abs(np.abs(x) - 0.105) < 0.02) & (z > 1.2) & (y > -0.03)
    elif extras.bag == "shoulder bag":
        t = (z - 1.0) / 0.46
        line = extras.bag_side * (0.17 - 0.28 * t)
        mask = (np.abs(x - line) < 0.02) & (t > 0) & (t < 1.05)
    return mask


def hair_line(head: Head, front: Array) -> Array:
    """Height above which hair grows, from `front` (1 at the nose, -1 at the back of the head)."""
    if head.style == "bald":
        return np.full_like(front, 9.0)
    if head.style in ("bob", "long"):
        return _table(front, [-1, 0.0, 0.35, 0.55, 0.75, 1], [1.50, 1.51, 1.55, 1.66, 1.695, 1.70])
    return _table(front, [-1, -0.35, 0.0, 0.3, 0.6, 1], [1.56, 1.585, 1.615, 1.65, 1.69, 1.703])


def hat_line(head: Head, front: Array) -> Array:
    """Height above which the headwear covers the head; a hood or scarf leaves a window for the face."""
    if head.headwear in ("hood", "scarf"):
        return _table(front, [-1, 0.25, 0.5, 0.62, 1], [1.40, 1.40, 1.58, 1.68, 1.70])
    height = {"cap": 1.685, "beanie": 1.668, "hat": 1.688}.get(head.headwear, 9.0)
    return np.full_like(front, height)


def face(head: Head, z: Array, angle: Array) -> Array:
    """Colour of the bare head, ``[3, n]`` linear, at heights `z` in a 1.75 m body.

    `angle` is around the head; a quarter turn is the nose.
    """
    skin, hair = linear(head.skin.rgb)[:, None], linear(head.hair.rgb)[:, None]
    colour = np.broadcast_to(skin, (3, len(z))).copy()
    side = np.abs(angle - np.float32(np.pi / 2))
    colour *= 1 - 0.25 * np.exp(-(((z - 1.648) / 0.014) ** 2)) * (side < 0.65)  # eye sockets
    eyes = ((side - 0.36) / 0.13) ** 2 + ((z - 1.646) / 0.008) ** 2 < 1
    brows = (np.abs(side - 0.38) < 0.2) & (np.abs(z - 1.668) < 0.006)
    mouth = (side < 0.26) & (np.abs(z - 1.575) < 0.007)
    colour[:, eyes] = 0.03
    colour[:, brows] = 0.4 * colour[:, brows] + 0.6 * hair
    colour[:, mouth] *= np.array([[0.75], [0.45], [0.45]], dtype=np.float32)
    if head.beard:
        beard = ((z < 1.597) & (side < 1.35) & ~mouth & ~((side < 0.3) & (z > 1.57))) | (
            (np.abs(z - 1.59) < 0.006) & (side < 0.35)
        )
        colour[:, beard] = 0.3 * colour[:, beard] + 0.7 * hair
    if head.glasses:
        frame = (np.abs(z - 1.65) < 0.016) & (side < 0.72) & (side > 0.07)
        colour[:, frame] = 0.35 * colour[:, frame] + 0.01
    return colour


def _wavy(z: Array, around: Array, rate: float) -> Array:
    u = around + np.float32(0.6 / rate) * np.sin(np.float32(1.3 * rate) * z)
    v = z + np.float32(0.8 / rate) * np.sin(np.float32(0.9 * rate) * around + 1)
    return np.asarray(np.sin(np.float32(rate) * u) * np.sin(np.float32(1.1 * rate) * v), dtype=np.float32)


def _band(value: Array, period: float, share: float) -> Array:
    return ((value / np.float32(period)) % 1 < share).astype(np.float32)


def _table(value: Array, x: list[float], y: list[float]) -> Array:
    return np.interp(value, x, y).astype(np.float32)
