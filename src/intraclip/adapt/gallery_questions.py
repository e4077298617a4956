"""Questions about a gallery, by the vectors that it holds: for the service's page."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.adapt.answers import labels_of, settle, unsure_of
from intraclip.adapt.clusters import FEWEST, across, directions, likeness
from intraclip.adapt.questions import LATELY, next_question, pairs_of
from intraclip.arrays import unit
from intraclip.gallery.gallery import Gallery
from intraclip.link.agglomeration import ScoreMatrix
from intraclip.link.evidence import Evidence
from intraclip.link.source import from_gallery

MOST = 2_000
"""Tracklets that questions are about: those seen last."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """A gallery's tracklets, as they were when their number was last looked at."""

    key: tuple[Any, ...]
    names: tuple[str, ...]
    scores: ScoreMatrix
    impossible: npt.NDArray[np.bool_]
    askable: npt.NDArray[np.bool_]


class GalleryQuestions:
    """Chooses questions; may be used from several threads, and other processes may change the gallery meanwhile."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery, self._lock = gallery, threading.Lock()
        self._seen: _Seen | None = None

    def next(self) -> tuple[str, str, int] | None:
        """The two tracklets that it helps most to know about, and the pairs that the answer may settle.

        Tracklets without pictures are not asked about. None where nothing is worth asking.
        """
        with self._lock:
            seen = self._look()
            if seen is None:
                return None
            judgements = self._gallery.judgements()
            settled = settle(seen.impossible, seen.names, judgements, labels_of(self._gallery))
            unsure = pairs_of(unsure_of(self._gallery), seen.names)
            asked = pairs_of([(j.query, j.tracklet) for j in judgements][-LATELY:], seen.names)
            while True:
                found = next_question(seen.scores, settled, askable=seen.askable, unsure=unsure, asked=asked)
                if found is None:
                    return None
                # Pictures are read for those alone that are to be shown; a tracklet may be deleted meanwhile, too.
                blind = [n for n in (found.a, found.b) if not self._gallery.strip(seen.names[n])]
                if not blind:
                    return seen.names[found.a], seen.names[found.b], found.pairs
                seen.askable[blind] = False

    def why_none(self) -> str:
        """Why nothing is worth asking, in a sentence without its stop."""
        if self._gallery.stats().tracklets < FEWEST:
            return f"fewer than {FEWEST} tracklets say too little about who is who"
        return "what tracklets, footage and answers say leaves no doubt that an answer could settle"

    def _look(self) -> _Seen | None:
        counts = self._gallery.stats()
        key = (counts.tracklets, *counts.cameras.items(), *counts.sources.items())
        if counts.tracklets < FEWEST:
            return None
        if self._seen is None or self._seen.key != key:
            self._seen = self._looked(key)
        return self._seen

    def _looked(self, key: tuple[Any, ...]) -> _Seen:
        given = from_gallery(self._gallery)
        rows = np.arange(len(given.names))
        if len(rows) > MOST:
            at = {r.id: (r.seen_at, r.id) for r in self._gallery.all_records()}
            latest = sorted(rows.tolist(), key=lambda n: at.get(given.names[n], (0.0, "")))[-MOST:]
            rows = np.sort(np.array(latest))
        vectors, camids = unit(given.features[rows]), given.camids[rows]
        evidence = Evidence(
            features=vectors,
            camids=camids,
            metric="cosine",
            times=None if given.times is None else given.times[rows],
            sources=tuple(given.sources[n] for n in rows) if given.sources else (),
        )
        return _Seen(
            key=key,
            names=tuple(given.names[n] for n in rows),
            scores=likeness(across(vectors, directions(vectors, camids)), camids),
            impossible=np.isneginf(evidence.score_matrix()),
            askable=np.ones(len(rows), dtype=np.bool_),
        )
