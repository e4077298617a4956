"""Protocols: what is searched, what is left out, and how precision is averaged, by name.

The same embeddings score differently under each of them, so a number without its protocol says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from intraclip.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """How a test set is scored.

    A gallery item of the query's own pid and camid never counts, nor does junk (pid -1): both leave the ranking. A
    protocol of the own camera searches nothing but that camera, and there every other tracklet of the pid is right.

    Attributes:
        queries_in_gallery: whether the query tracklets are searched too.
        average_precision: ``rectangular`` (the usual mean of precisions at the hits) or ``trapezoidal`` (the
            MATLAB code of MARS, as in Oxford Buildings).
        own_camera: search the query's own camera, instead of the others.
    """

    name: str
    queries_in_gallery: bool
    average_precision: Literal["rectangular", "trapezoidal"]
    about: str
    own_camera: bool = False


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(
            name="mars-official",
            queries_in_gallery=True,
            average_precision="trapezoidal",
            about="The MATLAB code of the authors of MARS: all test tracklets searched, trapezoidal AP.",
        ),
        Protocol(
            name="mars-full",
            queries_in_gallery=True,
            average_precision="rectangular",
            about="Usual in papers since 2019: all test tracklets searched, rectangular AP.",
        ),
        Protocol(
            name="mars-no-query",
            queries_in_gallery=False,
            average_precision="rectangular",
            about="Queries taken out of the gallery; those that lose their only match are not counted.",
        ),
        Protocol(
            name="ilids-vid",
            queries_in_gallery=False,
            average_precision="rectangular",
            about="Camera 1 searches camera 2, one tracklet each.",
        ),
        Protocol(
            name="prid2011",
            queries_in_gallery=False,
            average_precision="rectangular",
            about="Camera a searches camera b, one tracklet each.",
        ),
        Protocol(
            name="lsvid",
            queries_in_gallery=False,
            average_precision="rectangular",
            about="LS-VID with the queries taken out of the gallery.",
        ),
        Protocol(
            name="cross-camera",
            queries_in_gallery=False,
            average_precision="rectangular",
            about="Own tracklets: queries search the gallery across cameras.",
        ),
        Protocol(
            name="within-camera",
            queries_in_gallery=False,
            average_precision="rectangular",
            about="Queries search the gallery of their own camera: easier than finding people across cameras, and no "
            "measure of it.",
            own_camera=True,
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """Look a protocol up.

    Raises:
        ConfigError: unknown name.

    >>> protocol_named("mars-full").queries_in_gallery
    True
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol {name!r} is not one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
