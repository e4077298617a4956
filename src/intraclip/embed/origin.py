"""What is written beside embeddings: their network, sampling and data, and when their tracklets were seen."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np

from intraclip.config import ClipConfig
from intraclip.data.readers.folder import find_manifest
from intraclip.data.readers.manifest import manifest_rows
from intraclip.embed.embeddings_writer import Times
from intraclip.embed.extractors import Extractor
from intraclip.errors import DataError
from intraclip.types import Split


def origin_of(extractor: Extractor, split: Split, clip: ClipConfig) -> dict[str, Any]:
    """The metadata of an embeddings file of a split's test tracklets, for whoever compares or keeps them."""
    return {
        "fingerprint": extractor.fingerprint(clip),
        "encoder": extractor.name,
        "data": data_digest(split),
        "clip": asdict(clip),
        "dataset": split.dataset,
        "split": split.index,
        "protocol": split.protocol,
    }


def data_digest(split: Split) -> str:
    """SHA-256 over names, numbers and frame lists of the test tracklets; frames are not opened."""
    found = hashlib.sha256(f"{len(split.query)} queries".encode())
    for t in split.test:
        found.update("\0".join((t.name, str(t.pid), str(t.camid), *t.frames, "\n")).encode())
    return found.hexdigest()


def times_of(split: Split) -> Times | None:
    """When the test tracklets begin and end in their videos, as `intraclip ingest` wrote it down.

    Returns:
        Seconds ``[N, 2]``, NaN where unknown; None if the data set's manifest knows no times.

    Raises:
        DataError: a time in the manifest is no number.
    """
    manifest = find_manifest(split.root)
    if manifest is None:
        return None
    found: dict[str, tuple[float, float]] = {}
    for line, row in manifest_rows(manifest):
        if "start_s" not in row or "end_s" not in row:
            return None
        try:
            start, end = (float(row[name] or "nan") for name in ("start_s", "end_s"))
        except ValueError:
            raise DataError(
                f"{manifest}, line {line}: start_s {row['start_s']!r} and end_s {row['end_s']!r} must be seconds"
            ) from None
        found[row["tracklet"]] = (start, end)
    return np.array([found.get(t.name, (np.nan, np.nan)) for t in split.test], dtype=np.float64)
