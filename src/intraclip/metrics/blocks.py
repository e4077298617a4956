"""Counting, block by block, the gallery items that are not farther than given distances.

The distances of `intraclip.metrics.distance` are decided exactly, though almost none of them is computed:

1. A float32 matrix product gives every pair of a block a number that lies within a known bound of the true one.
2. A pair whose number is farther from the threshold than that bound is decided by it.
3. The few pairs in between are computed directly, each alone (`paired_distances`).

So the counts depend neither on the size of the blocks nor on the order of the gallery, the number of threads, the
linear algebra library, or the device. Nothing but one block and the counters is ever kept.

The bound (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1) holds for any order of
summation: a float32 product of two vectors of k entries errs by at most k u |a| |b| to first order, u = 2^-24. `DEPTH`
entries are summed in one product and the partial sums are added, which keeps k small for long features.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from intraclip.metrics.distance import Distance, largest, paired_distances, row_products

if TYPE_CHECKING:
    from intraclip.metrics.blocks_torch import TorchSide

MAX_BYTES = 256 * 2**20
"""Memory that the blocks of one search may take by default."""

FEW = 96
"""Up to so many thresholds a pass over the values for each beats one binary search for each value (measured)."""

FLAGS = 2**18
"""Comparisons made in one go: their flags stay in a processor's cache until they are counted."""

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Rows and columns: queries and gallery items, int64 ``[pairs]`` each."""

Counted = tuple[npt.NDArray[np.int64], Pairs, npt.NDArray[np.float32]]
"""Counts by the upper bound; then the open pairs, sorted by row, and their numbers."""

DEPTH = 256
_WIDEST = 16_384
_UNIT_ROUNDOFF = 2.0**-24
_SMALLEST_NORMAL = 2.0**-126
_SMALLEST = 2.0**-149


def count_not_above(
    values: npt.NDArray[np.floating],
    thresholds: npt.NDArray[np.floating],
    *,
    flags: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """How many values lie at or below each threshold.

    Args:
        values: ``[G]``, any order; infinity is allowed, NaN is not.
        thresholds: ``[m]``, ascending.
        flags: bool ``[G]`` or longer, room to work in; `FLAGS` entries are a good size.

    >>> flags = np.empty(3, bool)
    >>> count_not_above(np.array([3.0, 1.0, 2.0]), np.array([0.0, 2.0]), flags=flags).tolist()
    [0, 2]
    """
    if len(thresholds) > FEW:
        places = np.bincount(np.searchsorted(thresholds, values), minlength=len(thresholds) + 1)
        return np.asarray(np.cumsum(places)[:-1], dtype=np.int64)
    counts = []
    # As many thresholds in one call as there is room for: short rows would spend their time in calls.
    group = max(1, len(flags) // max(1, len(values)))
    room = flags[: group * len(values)].reshape(group, len(values))
    for start in range(0, len(thresholds), group):
        some = thresholds[start : start + group, None]
        counts += [np.count_nonzero(row) for row in np.less_equal(values, some, out=room[: len(some)])]
    return np.array(counts, dtype=np.int64)


def block_shape(queries: int, gallery: int, size: int, *, max_bytes: int, cell_bytes: int) -> tuple[int, int]:
    """Queries and gallery items of a block, at least one of each.

    Features of `size` entries on both sides, and the cells, take `max_bytes` at most.

    >>> block_shape(10_000, 1_000_000, 2048, max_bytes=256 * 2**20, cell_bytes=8)
    (2730, 8192)
    """
    feature_bytes = 4 * max(size, 1)
    columns = max(1, min(gallery, _WIDEST, max_bytes // 4 // feature_bytes))
    rows = (max_bytes - columns * feature_bytes) // (feature_bytes + cell_bytes * columns)
    return max(1, min(queries, rows)), columns


def count_not_farther(
    features: npt.NDArray[np.float32],
    *,
    query: npt.NDArray[np.int64],
    gallery: npt.NDArray[np.int64],
    distance: Distance,
    thresholds: npt.NDArray[np.float32],
    starts: npt.NDArray[np.int64],
    left_out: Pairs,
    max_bytes: int = MAX_BYTES,
    device: str | None = None,
) -> npt.NDArray[np.int64]:
    """Count the gallery items that are not farther from their query than each threshold: int64 ``[thresholds]``.

    Args:
        features: float32 ``[N, D]``, accepted by `check_features`.
        query: int64 ``[Q]``, rows of `features`.
        gallery: int64 ``[G]``, rows of `features`.
        distance: ``euclidean`` or ``cosine``.
        thresholds: float32, those of the first query first, of each query ascending.
        starts: int64 ``[Q + 1]``; query i owns ``thresholds[starts[i]:starts[i + 1]]``.
        left_out: pairs that are not counted, a query and a gallery item each, both counted from 0.
        max_bytes: memory for the blocks; the features themselves and the thresholds come on top.
        device: None for numpy, otherwise a torch device such as ``cuda``; the counts are the same.
    """
    counts = np.zeros(len(thresholds), dtype=np.int64)
    # Powers of two scale without rounding; then no square overflows, whatever the features' unit is.
    peak = largest(features)
    scale = 1.0 if distance == "cosine" or peak == 0 else 2.0 ** -max(np.frexp(peak)[1], -100)
    frame = _Frame(
        # Any centre is right; a good one makes the bound narrow, because it goes with the length of the features.
        centre=features[gallery[:: max(1, len(gallery) // 1024)]].mean(axis=0),
        scale=scale,
        distance=distance,
    )
    side: _NumpySide | TorchSide = _NumpySide()
    if device is not None:
        from intraclip.metrics.blocks_torch import TorchSide  # torch takes seconds to import

        side = TorchSide(device)
    height, width = block_shape(
        len(query), len(gallery), features.shape[1], max_bytes=max_bytes, cell_bytes=side.cell_bytes
    )
    by_column = np.argsort(left_out[1], kind="stable")
    out_rows, out_columns = left_out[0][by_column], left_out[1][by_column]
    for left in range(0, len(gallery), width):
        columns = gallery[left : left + width]
        g, g_squares = frame.prepare(features, columns)
        inside = slice(*np.searchsorted(out_columns, [left, left + len(columns)]))
        side.load(g, g_squares if distance == "euclidean" else np.zeros_like(g_squares))
        for top in range(0, len(query), height):
            rows = query[top : top + height]
            block = slice(starts[top], starts[top + len(rows)])
            if block.start == block.stop:
                continue
            own = starts[top : top + len(rows) + 1] - block.start
            q, q_squares = frame.prepare(features, rows)
            of_query = np.repeat(q_squares, np.diff(own))
            low, high = frame.bounds(thresholds[block], of_query, float(g_squares.max()))
            mine = (out_rows[inside] >= top) & (out_rows[inside] < top + len(rows))
            out = out_rows[inside][mine] - top, out_columns[inside][mine] - left
            found, (open_rows, open_columns), values = side.count(q, low, high, own, out)
            exact = paired_distances(
                features, features, rows=rows[open_rows], columns=columns[open_columns], distance=distance
            )
            # Open pairs stand in the counts by their upper bound; now they stand there by their distance.
            for first, last in pairwise(np.flatnonzero(np.diff(open_rows, prepend=-1, append=-1))):
                row = slice(own[open_rows[first]], own[open_rows[first] + 1])
                by_bound = np.searchsorted(np.sort(values[first:last]), high[row], side="right")
                wanted = thresholds[block][row]
                found[row] += np.searchsorted(np.sort(exact[first:last]), wanted, side="right") - by_bound
            counts[block] += found
    return counts


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """How features enter the float32 product: centred and scaled, or at unit length for cosine.

    The product side computes ``|g|^2 / 2 - q g``, which is half the squared distance but for ``|q|^2 / 2``, and with
    cosine ``-q g``. It ascends with the distance.
    """

    centre: npt.NDArray[np.float32]
    scale: float
    distance: Distance

    def prepare(
        self, features: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Features ``[n, D]`` for the product, and their squared lengths in float64 ``[n]``."""
        chosen = features[rows].astype(np.float32, copy=False)
        if self.distance == "cosine":
            chosen /= np.sqrt(_squares(chosen))[:, None]
            return chosen, np.ones(len(chosen))
        chosen -= self.centre
        chosen *= np.float32(self.scale)
        return chosen, _squares(chosen)

    def bounds(
        self, distances: npt.NDArray[np.float32], q_squares: npt.NDArray[np.float64], g_square: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What the product must not exceed to be surely, and possibly, within a distance: float32 ``[thresholds]``.

        Args:
            distances: float32 ``[thresholds]``.
            q_squares: ``[thresholds]``, squared lengths of their prepared queries.
            g_square: the largest squared length of a prepared gallery item in the block.
        """
        size = len(self.centre)
        t = distances.astype(np.float64) * self.scale
        half = t if self.distance == "cosine" else t**2 / 2
        middle = half - (1 if self.distance == "cosine" else q_squares / 2)
        q, g = np.sqrt(q_squares), np.sqrt(g_square)
        # The product and the sum of its parts; the last addition.
        error = (min(size, DEPTH) + -(-size // DEPTH) + 3) * q * g
        # Rounding of the prepared entries; of |g|^2 / 2 and its addition; of the distance itself to float32.
        error += (q + g) ** 2 + g**2 + 2 * half
        # 1.05 covers the higher orders and float64. What underflows has absolute bounds.
        tiny = _SMALLEST * self.scale
        error = 1.05 * _UNIT_ROUNDOFF * error + 2 * (size + 1) * _SMALLEST_NORMAL + tiny * (2 * t + tiny)
        low = np.nextafter((middle - error).astype(np.float32), np.float32(-np.inf))
        high = np.nextafter((middle + error).astype(np.float32), np.float32(np.inf))
        return low, high


def _squares(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    found = np.empty(len(features))
    step = max(1, 2**17 // max(features.shape[1], 1))
    for start in range(0, len(features), step):
        wide = features[start : start + step].astype(np.float64)
        found[start : start + step] = row_products(wide, wide)
    return found


class _NumpySide:
    """Products and counting with numpy. Its products use every core, the passes over a row need the cache most."""

    cell_bytes = 8
    """Of memory for a pair of a block: the product, and a part of it."""

    def load(self, g: npt.NDArray[np.float32], squares: npt.NDArray[np.float64]) -> None:
        """Take the gallery items of the next blocks, prepared, and their squared lengths."""
        self._g = g
        self._offsets = (squares / 2).astype(np.float32)
        self._flags = np.empty(max(FLAGS, len(g)), dtype=bool)

    def count(
        self,
        q: npt.NDArray[np.float32],
        low: npt.NDArray[np.float32],
        high: npt.NDArray[np.float32],
        starts: npt.NDArray[np.int64],
        left_out: Pairs,
    ) -> Counted:
        """Count in a block of prepared queries; thresholds come as their bounds, the rest as in `count_not_farther`."""
        product = np.matmul(q[:, :DEPTH], self._g[:, :DEPTH].T)
        if q.shape[1] > DEPTH:
            part = np.empty_like(product)
            for start in range(DEPTH, q.shape[1], DEPTH):
                deep = slice(start, start + DEPTH)
                product += np.matmul(q[:, deep], self._g[:, deep].T, out=part)
        np.subtract(self._offsets, product, out=product)
        product[left_out] = np.inf
        counts = np.zeros(len(low), dtype=np.int64)
        rows, columns = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for row, numbers in enumerate(product):
            own = slice(starts[row], starts[row + 1])
            sure = count_not_above(numbers, low[own], flags=self._flags)
            counts[own] = count_not_above(numbers, high[own], flags=self._flags)
            unsettled = own.start + np.flatnonzero(counts[own] != sure)
            if len(unsettled):
                near = np.zeros(len(numbers), dtype=bool)
                beyond, within = self._flags[: 2 * len(near)].reshape(2, -1)
                for place in unsettled:
                    np.greater(numbers, low[place], out=beyond)
                    np.less_equal(numbers, high[place], out=within)
                    near |= np.logical_and(beyond, within, out=within)
                columns.append(np.flatnonzero(near))
                rows.append(np.full(len(columns[-1]), row))
        pairs = np.concatenate(rows), np.concatenate(columns)
        return counts, pairs, product[pairs]
