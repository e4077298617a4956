"""Surfaces as dense points: rings swept along an axis and sampled evenly.

A person is drawn from points on the skin and clothes, each with a normal and a colour. The points are laid
out once a tracklet, close enough for its resolution; every frame only moves them. That is what makes
rendering fast without a graphics card, and lets any shape be a body part, not only capsules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from intraclip.studio.arrays import Array, Floats, Mask, f32

Relief = Callable[[Array, Array], Array]
"""Metres to push a surface outward, from position along the axis (metres) and angle (radians)."""

_STEP = 2e-3


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Points of one surface.

    Attributes:
        xyz: float32 ``[3, n]`` rest positions, metres.
        normal: float32 ``[3, n]`` unit outward normals.
        along: float32 ``[n]`` position along the axis, metres, in the frame of the rings.
        angle: float32 ``[n]`` angle around the axis, radians; 0 is +x, a quarter turn +y.
    """

    xyz: Array
    normal: Array
    along: Array
    angle: Array

    def __len__(self) -> int:
        return int(self.xyz.shape[1])

    def kept(self, mask: Mask) -> Patch:
        """Only the points where `mask` holds."""
        return Patch(
            xyz=self.xyz[:, mask], normal=self.normal[:, mask], along=self.along[mask], angle=self.angle[mask]
        )

    def laid_down(self, x: float) -> Patch:
        """With its axis pointing forward instead of up, and moved to the side by `x`, metres."""
        swapped = [0, 2, 1]
        return replace(self, xyz=self.xyz[swapped] + f32([[x], [0.0], [0.0]]), normal=self.normal[swapped])


def loft(
    rings: npt.ArrayLike,
    spacing: float,
    rng: np.random.Generator,
    *,
    power: float = 2.0,
    caps: tuple[float, float] = (0.0, 0.0),
    relief: Relief | None = None,
) -> Patch:
    """Sweep rings along z.

    Args:
        rings: ``[k, 5]``: z, centre x, centre y, half width in x, half width in y; metres, z rising or falling.
        spacing: wanted distance between points, metres.
        rng: jitters the points, which avoids moire patterns.
        power: shape of a ring: 2 is an ellipse, 5 nearly a rectangle.
        caps: lengths over which the first and the last end are rounded off, metres.
        relief: pushes the surface outward.
    """
    knots = np.asarray(rings, dtype=np.float64)
    knot_s = np.abs(knots[:, 0] - knots[0, 0])
    length = float(knot_s[-1])
    slope = np.gradient(knots, knot_s, axis=0)

    def rows(s: Floats) -> Floats:
        """Ring parameters ``[5, m]`` at distances `s` from the first end."""
        s = np.clip(s, 0.0, length)
        value = _hermite(knot_s, knots, slope, s)
        shrink = np.ones_like(s)
        for cap, distance in ((caps[0], s), (caps[1], length - s)):
            if cap > 0:
                shrink *= np.sqrt(np.clip(1 - (1 - np.clip(distance / cap, 0, 1)) ** 2, 1e-6, 1))
        value[3:] *= shrink
        return value

    fine = np.linspace(0, length, 160)
    profile = rows(fine)
    radius = profile[3:].max(axis=0)
    steps = np.sqrt(np.sum(np.diff(np.vstack([profile[:3], radius]), axis=1) ** 2, axis=0))
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(2, int(np.ceil(arc[-1] / spacing)))
    at = (np.arange(count) + 0.5 + rng.uniform(-0.3, 0.3, count)) / count * arc[-1]
    s = np.interp(at, arc, fine)
    # One step towards the middle, so that it never leaves the surface.
    here, after = rows(s), rows(np.where(s < length / 2, s + _STEP, s - _STEP))

    reach = here[3:].max(axis=0)
    if relief is not None:
        # A wide trouser leg is relief on a thin leg: without it its points would stand too far apart, with holes.
        probe = np.linspace(0, 2 * np.pi, 16, endpoint=False, dtype=np.float32)
        height = np.broadcast_to(here[0].astype(np.float32)[:, None], (count, len(probe)))
        reach = reach + np.maximum(0, relief(height, np.broadcast_to(probe, height.shape)).max(axis=1))
    around = np.maximum(4, np.ceil(2 * np.pi * reach / spacing)).astype(np.int64)
    row = np.repeat(np.arange(count), around)
    first = np.repeat(np.cumsum(around) - around, around)
    total = len(row)
    theta = (np.arange(total) - first + rng.random(count)[row] + rng.uniform(-0.25, 0.25, total)) / around[
        row
    ]
    angle = (theta * 2 * np.pi % (2 * np.pi)).astype(np.float32)

    def place(ring: Floats, angles: Array) -> Array:
        z, cx, cy, rx, ry = ring.astype(np.float32)[:, row]
        cos, sin = np.cos(angles), np.sin(angles)
        if power == 2.0:
            r = rx * ry / np.sqrt((ry * cos) ** 2 + (rx * sin) ** 2 + 1e-12)
        else:
            r = (np.abs(cos / rx) ** power + np.abs(sin / ry) ** power) ** np.float32(-1 / power)
        if relief is not None:
            # Fade the relief where the ring closes, or the tip would become a spike.
            r = r + relief(z, angles) * np.minimum(1, np.minimum(rx, ry) / 0.02)
        return np.stack([cx + r * cos, cy + r * sin, z])

    xyz = place(here, angle)
    along = place(after, angle) - xyz
    across = place(here, angle + np.float32(0.02)) - xyz
    normal = np.stack(
        [
            across[1] * along[2] - across[2] * along[1],
            across[2] * along[0] - across[0] * along[2],
            across[0] * along[1] - across[1] * along[0],
        ]
    )
    normal /= np.sqrt(np.sum(normal * normal, axis=0)) + 1e-12
    normal *= np.where(s < length / 2, 1, -1)[row].astype(np.float32)
    if np.sum(np.cos(angle) * normal[0] + np.sin(angle) * normal[1]) < 0:
        normal = -normal
    return Patch(xyz=f32(xyz), normal=f32(normal), along=xyz[2].copy(), angle=angle)


def folds(rng: np.random.Generator, depth: float, *, wave: float = 0.13) -> Relief:
    """Creases of cloth: a few slanted waves."""
    draws = [
        (
            2 * np.pi / (wave * rng.uniform(0.7, 2.0)),
            rng.choice([-1, 1]) * rng.integers(1, 6),
            rng.uniform(0, 7),
            rng.uniform(6, 14),
        )
        for _ in range(3)
    ]

    def relief(z: Array, angle: Array) -> Array:
        total = np.zeros_like(z)
        for frequency, turns, phase, slow in draws:
            # A slow wave fades the quick one in and out, so that creases come in patches.
            patchy = np.sin(np.float32(slow) * z - angle + np.float32(2 * phase))
            total += (
                np.sin(np.float32(frequency) * z + np.float32(turns) * angle + np.float32(phase)) * patchy
            )
        return total * np.float32(depth / 3)

    return relief


def _hermite(
    knot_s: Floats,
    knots: Floats,
    slope: Floats,
    s: Floats,
) -> Floats:
    """Smooth curve through ring tables ``[k, c]`` with slopes ``[k, c]``, read at `s`: ``[c, m]``."""
    i = np.clip(np.searchsorted(knot_s, s, side="right") - 1, 0, len(knot_s) - 2)
    width = (knot_s[i + 1] - knot_s[i])[:, None]
    t = ((s - knot_s[i]) / width[:, 0])[:, None]
    a, b = knots[i], knots[i + 1]
    value = (
        (1 + 2 * t) * (1 - t) ** 2 * a
        + t * (1 - t) ** 2 * width * slope[i]
        + t * t * (3 - 2 * t) * b
        + t * t * (t - 1) * width * slope[i + 1]
    )
    return np.asarray(value.T, dtype=np.float64)
