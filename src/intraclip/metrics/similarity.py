"""How alike two embeddings are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from intraclip.arrays import as_reals
from intraclip.errors import DataError
from intraclip.metrics.distance import check_features, paired_distances
from intraclip.metrics.match_probability import MatchCalibration, read_calibration


class Similarity(NamedTuple):
    """What two embeddings have in common.

    Attributes:
        cosine: cosine similarity, -1..1.
        probability: that both show one person, 0..1, under the calibration's prior.
    """

    cosine: float
    probability: float


@overload
def similarity(a: Any, b: Any, *, calibration: None = None) -> float: ...
@overload
def similarity(a: Any, b: Any, *, calibration: MatchCalibration | Path | str) -> Similarity: ...
def similarity(
    a: Any, b: Any, *, calibration: MatchCalibration | Path | str | None = None
) -> float | Similarity:
    """Cosine similarity of two embeddings; with a calibration also the probability that they show one person.

    Args:
        a: ``[D]``, array, tensor or list.
        b: likewise, of the same network.
        calibration: what distances mean (`ic.link` and `intraclip gallery calibrate` fit one), or its .json file.

    Returns:
        -1..1; with a calibration cosine and probability.

    Raises:
        DataError: no two vectors of one size, a zero vector, numbers that are not finite, or no calibration.

    >>> similarity([3, 4], [4, 3])
    0.96
    """
    pair = [as_reals(vector, name=name) for vector, name in ((a, "a"), (b, "b"))]
    if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
        raise DataError(
            f"similarity wants two vectors [D] of one size, got {list(pair[0].shape)} and {list(pair[1].shape)}; "
            "e[0] is the vector of the first clip"
        )
    features = np.stack(pair)
    check_features(features, name="embedding", distance="cosine")
    if isinstance(calibration, str | Path):
        calibration = read_calibration(Path(calibration))

    def distance(metric: Any) -> float:
        places = np.array([0]), np.array([1])
        return float(
            paired_distances(features, features, rows=places[0], columns=places[1], distance=metric)[0]
        )

    cosine = round(1 - distance("cosine"), 7)  # float32 holds no more
    if calibration is None:
        return cosine
    return Similarity(cosine, float(calibration.probability(distance(calibration.metric))))
