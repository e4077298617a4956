"""Vectors of tracklets at unit length; no PyTorch, so that the service needs none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


def unit(vectors: npt.NDArray[np.floating[Any]]) -> Vectors:
    """The same directions at unit length."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
