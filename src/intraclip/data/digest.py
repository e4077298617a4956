"""Which tracklets something was made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from intraclip.data.readers.common import benchmark_info
from intraclip.types import Split, Tracklet


def tracklets_digest(split: Split, tracklets: Sequence[Tracklet], *, checksum: str | None = None) -> str:
    """Which tracklets something was made of: SHA-256 of their names, people, cameras and lengths.

    Rendered data bring the checksum of all their frames, which is counted in. Pixels of real data are not read.

    `checksum` is counted in place of the one that `benchmark.json` names. Returns 64 hexadecimal digits.
    """
    rendered = benchmark_info(split.root) or {}
    told = [split.dataset, str(rendered.get("sha256", "")) if checksum is None else checksum]
    told += [f"{t.name} {t.pid} {t.camid} {len(t)}" for t in tracklets]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
