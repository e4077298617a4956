"""Where chance comes from: one generator for each thing, named by what it is.

A generator depends on the seed, a kind and indices only, never on the order of work. So the number of
workers does not change a byte, and more identities do not change the earlier ones.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Kind(IntEnum):
    """What a generator is for. The numbers are part of the format: do not reorder."""

    IDENTITY = 1
    GROUP = 2
    CAMERA = 3
    SCENE = 4
    SCHEDULE = 5
    TRACKLET = 6
    SPLIT = 7
    BODY = 8
    NOISE = 9
    DIVERSE_CAMERA = 10
    DIVERSE_LIGHT = 11
    DIVERSE_PLACE = 12
    DIVERSE_PERSON = 13
    DIVERSE_GROUP = 14
    DIVERSE_SCHEDULE = 15
    DIVERSE_VISIT = 16


def generator(seed: int, kind: Kind, *index: int) -> np.random.Generator:
    """A generator for one thing.

    >>> a, b = generator(1, Kind.IDENTITY, 5), generator(1, Kind.IDENTITY, 5)
    >>> bool(a.random() == b.random())
    True
    """
    return np.random.default_rng([seed, int(kind), *index])
