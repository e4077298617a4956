"""Dividing an extraction: tracklets into parts, parts among processes."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

PART_FRAMES = 8192
"""Frames of a part: what a killed process loses at most. Minutes for ResNet50 on two cores, seconds on a GPU."""


def divide(sizes: Sequence[int], part_size: int) -> list[range]:
    """Divide items in their order into runs, which end with the item that reaches `part_size`.

    >>> divide([3, 3, 3, 9, 1], 6)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    parts, start, filled = [], 0, 0
    for number, size in enumerate(sizes, start=1):
        filled += size
        if filled >= part_size:
            parts.append(range(start, number))
            start, filled = number, 0
    if start < len(sizes):
        parts.append(range(start, len(sizes)))
    return parts


def balance(sizes: Sequence[int], processes: int) -> list[list[int]]:
    """Share items among processes so that the largest share is small: the largest item first, to who has least.

    Every item is in exactly one share; the same sizes always give the same shares. The largest share is at most 4/3
    of the best possible one (Graham 1969).

    Returns:
        Item numbers in ascending order, one list a process.

    >>> balance([5, 3, 3, 1], 2)
    [[0, 3], [1, 2]]
    """
    shares: list[list[int]] = [[] for _ in range(processes)]
    load = [(0, rank) for rank in range(processes)]
    for item in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        filled, rank = heapq.heappop(load)
        shares[rank].append(item)
        heapq.heappush(load, (filled + sizes[item], rank))
    return [sorted(share) for share in shares]
