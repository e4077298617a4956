"""Some of many, evenly spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

FromT = TypeVar("FromT")
ToT = TypeVar("ToT")


def evenly(length: int, count: int) -> npt.NDArray[np.int64]:
    """Indices of at most `count` of `length` items, first and last among them, evenly spread.

    >>> evenly(9, 3).tolist(), evenly(2, 3).tolist(), evenly(3, 0).tolist()
    ([0, 4, 8], [0, 1], [0, 1, 2])
    """
    if not count or length <= count:
        return np.arange(length)
    return np.linspace(0, length - 1, count).round().astype(np.int64)


def spread(items: Iterable[FromT], most: int, *, keep: Callable[[FromT], ToT]) -> list[ToT]:
    """At most `most` items of a stream whose length its end alone tells, evenly spread; twice as many are held.

    `keep` makes of an item what is held.

    >>> spread(range(9), 3, keep=str), spread([], 3, keep=str)
    (['0', '4', '8'], [])
    """
    kept: list[ToT] = []
    stride = 1
    for number, item in enumerate(items):
        if number % stride:
            continue
        kept.append(keep(item))
        if len(kept) == 2 * most:
            kept, stride = kept[::2], 2 * stride
    return [kept[i] for i in evenly(len(kept), most)]
