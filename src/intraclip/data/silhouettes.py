"""Where people are seen in rendered frames: ground truth that lies beside a rendered data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError


def silhouettes_file(root: Path, tracklet_name: str) -> Path:
    """The file of a tracklet's silhouettes."""
    return root / "ground_truth" / "silhouettes" / f"{tracklet_name}.npz"


def load_silhouettes(root: Path, tracklet_name: str) -> npt.NDArray[np.bool_]:
    """Where the target person is seen in each frame of a tracklet, after occlusion; bool ``[n, H, W]``.

    Raises:
        DataError: there are none of this tracklet.
    """
    path = silhouettes_file(root, tracklet_name)
    if not path.is_file():
        raise DataError(f"no silhouettes of tracklet {tracklet_name}: {path} is missing; look at the names in "
                        f"{root / 'ground_truth' / 'tracklets.csv'}")  # fmt: skip
    with np.load(path) as stored:
        shape = tuple(int(size) for size in stored["shape"])
        bits = np.unpackbits(stored["bits"], count=int(np.prod(shape)))
    return bits.reshape(shape).astype(np.bool_)
