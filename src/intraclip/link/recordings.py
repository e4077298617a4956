"""Which recording a tracklet is from: times count from the start of a recording, so only those of one compare."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Names of `intraclip ingest`: the view of its video (intraclip.ingest.cameras.view_names), then the track. A gallery
# may put a prefix in front. Other systems' names are not guessed at: "cam1_0007" says nothing about recordings.
_INGESTED = re.compile(r"(.*?cam\d+(?:v\d+)?)_t\d{4,}(?:p\d+)?", re.DOTALL)

_ALONE = "\0 "


def recordings(names: Sequence[str], videos: Sequence[str] = ()) -> tuple[str, ...]:
    """Recording of every tracklet, by its name and its video; tracklets with the same text share a recording.

    The name counts beside the video: Monday's and Tuesday's video of a camera may both be called ``cam1.mp4``.

    Args:
        names: of the tracklets ``[N]``.
        videos: file name of each one's video ``[N]``, empty texts where unknown; or empty.

    Returns:
        A text for each ``[N]``; empty where neither says anything.

    >>> recordings(["cam1_t0001", "cam1v2_t0001p2", "tracklet 7"])
    ('cam1', 'cam1v2', '')
    """
    found = [_INGESTED.fullmatch(name) for name in names]
    views = [match[1] if match else "" for match in found]
    return tuple(
        " ".join(filter(None, parts)) for parts in zip(views, videos or [""] * len(views), strict=True)
    )


def kept_apart(sources: Sequence[str]) -> tuple[str, ...]:
    r"""The same recordings, and one of its own for every tracklet whose recording is unknown (an empty text).

    Times of different recordings are not compared, so unknown ones forbid nothing.

    >>> kept_apart(["cam1", "", ""])
    ('cam1', '\x00 1', '\x00 2')
    """
    return tuple(source or f"{_ALONE}{row}" for row, source in enumerate(sources))


def is_unknown(source: str) -> bool:
    """Whether `kept_apart` made this recording up, for one tracklet alone."""
    return source.startswith(_ALONE)
