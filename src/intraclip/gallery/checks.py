"""What a gallery refuses, with a `DataError`, before anything is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from intraclip.errors import DataError
from intraclip.gallery.records import GalleryInfo, TrackletRecord
from intraclip.gallery.store import Vectors
from intraclip.metrics.distance import check_features

SAME_VECTOR = 1e-2
"""Vectors of one tracklet that differ by less than this share of their length are the same one, up to rounding and
other batches."""

_REMEDY = "Ids are unique: delete the old one, or give the new data another prefix"


def checked_vectors(info: GalleryInfo, vectors: Vectors, names: Sequence[str]) -> Vectors:
    """Vectors ``[N, D]`` as they are stored: float32, of length 1 under ``cosine``.

    Refused are a wrong size, what is not finite, and a zero vector under ``cosine``; `names` say which.
    """
    if vectors.ndim != 2 or vectors.shape[1] != info.dimension:
        raise DataError(
            f"the vectors have the shape {list(vectors.shape)}; the gallery {info.address} holds embeddings of size "
            f"{info.dimension}"
        )
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(
            f"{len(bad)} of {len(vectors)} vectors are not finite (NaN or infinite): "
            f"{', '.join(names[i] for i in bad[:5])}; look at the network's input range and weights"
        )
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    check_features(vectors, name="gallery", distance=info.metric)
    if info.metric == "cosine":
        wide = vectors.astype(np.float64)
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
        vectors = wide.astype(np.float32)
    return vectors


def require_times(records: Sequence[TrackletRecord]) -> None:
    """Refuse a tracklet that ends before it starts; older galleries may hold such."""
    bad = [r for r in records if r.start_s is not None and r.end_s is not None and r.start_s > r.end_s]
    if bad:
        raise DataError(
            f"{len(bad)} tracklets end before they start, such as {bad[0].id}: "
            f"{bad[0].start_s:g} to {bad[0].end_s:g} s; look at where the times come from"
        )


def require_once(records: Sequence[TrackletRecord]) -> None:
    """Refuse an id that occurs twice."""
    twice = [name for name, count in Counter(r.id for r in records).items() if count > 1]
    if twice:
        raise DataError(f"tracklet ids occur twice in what is to be added: {', '.join(twice[:5])}")


def require_same_record(info: GalleryInfo, there: TrackletRecord, new: TrackletRecord) -> None:
    """Refuse a record whose camera, number of frames or times are not those that are there under its id.

    What only one of the two knows is no matter.
    """
    pairs: list[tuple[str, Any, Any]] = [("camera", there.camera, new.camera)]
    if there.num_frames and new.num_frames:
        pairs.append(("num_frames", there.num_frames, new.num_frames))
    for name in ("start_s", "end_s"):
        a, b = getattr(there, name), getattr(new, name)
        if a is not None and b is not None and abs(a - b) > 1e-3:
            pairs.append((name, a, b))
    differs = "; ".join(f"{name} is {a} there and {b} here" for name, a, b in pairs if a != b)
    if differs:
        raise DataError(
            f"tracklet {new.id!r} is in the gallery {info.address} already, with other content: {differs}. {_REMEDY}"
        )


def require_same_vector(info: GalleryInfo, name: str, there: Vectors, new: Vectors) -> None:
    """Refuse another vector ``[D]`` than the one that is there, further apart than rounding explains."""
    gap = float(np.linalg.norm(new - there))
    if gap > SAME_VECTOR * float(np.linalg.norm(there)):
        raise DataError(
            f"tracklet {name!r} is in the gallery {info.address} already, with another vector (they are {gap:.3g} "
            f"apart). {_REMEDY}"
        )
