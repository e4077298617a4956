"""Vectors of tracklets at unit length; no PyTorch, so that the service needs none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
