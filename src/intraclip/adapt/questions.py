"""Questions to a person, "the same person?", in the order in which their answers help most.

A question is worth the chance of the answer that the groups do not expect, times the pairs of tracklets that it would
join or part (what is known as expected model change; the chance is read off the place of the join in the tree).
docs/adapt.md has the rest, and the figures beside those of random questions.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from intraclip.adapt.answers import Settled, labels_of, settle, unsure_of
from intraclip.adapt.clusters import FEWEST, LEVEL, across, constrained, directions, likeness
from intraclip.arrays import unit
from intraclip.gallery.gallery import Gallery
from intraclip.link.agglomeration import Indices, ScoreMatrix, Tree, agglomerate
from intraclip.link.evidence import Evidence
from intraclip.link.source import from_gallery

SLOPE = 0.1
"""Jaccard distance from `LEVEL` at which three of four joins are as the groups have them."""

WORTH = 0.02
"""Chance of an unexpected answer below which nothing is asked."""

NO_DOUBT = "what tracklets, footage and answers say leaves no doubt that an answer could settle"
"""Why nothing is worth asking."""

MOST = 2_000
"""Tracklets of a gallery that questions are about: those seen last."""

LATELY = 10
"""Last questions whose groups count less."""

FADE = 0.75
"""What such a group's questions count for each time that it was asked about."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whether two tracklets show the same person.

    Attributes:
        a: row of a tracklet.
        b: of the other one.
        pairs: of tracklets that the unexpected answer joins or parts.
        chance: of the unexpected answer, 0..1.
    """

    a: int
    b: int
    pairs: int
    chance: float


def next_question(
    scores: ScoreMatrix,
    settled: Settled,
    *,
    askable: npt.NDArray[np.bool_] | None = None,
    unsure: Collection[tuple[int, int]] = (),
    asked: Sequence[tuple[int, int]] = (),
) -> Question | None:
    """The question that helps most; None where nothing is worth asking.

    Args:
        scores: `likeness` of N tracklets, float32 ``[N, N]``.
        settled: what is certain about them.
        askable: tracklets that may be asked about, bool ``[N]``; all by default.
        unsure: pairs that nobody could tell; they are not asked again.
        asked: pairs, the newest last.
    """
    known = constrained(scores, settled)
    tree = agglomerate(known.copy())
    of = np.unique(tree.cut(-LEVEL), return_inverse=True)[1]
    lately = Counter(group for a, b in asked[-LATELY:] for group in {int(of[a]), int(of[b])})
    allowed = np.ones(known.shape, dtype=np.bool_)
    if askable is not None:
        allowed &= askable[:, None] & askable
    for a, b in unsure:
        allowed[a, b] = allowed[b, a] = False

    def worth(found: _Open) -> float:
        times = max(lately[int(of[found.one[0]])], lately[int(of[found.other[0]])])
        return found.chance * len(found.one) * len(found.other) * FADE**times

    for found in sorted([*_within(tree), *_between(known, of)], key=worth, reverse=True):
        block = known[np.ix_(found.one, found.other)]
        # Who is most like the other side is who both sides are judged by.
        alike = block.mean(axis=1)[:, None] + block.mean(axis=0)
        alike[~allowed[np.ix_(found.one, found.other)]] = -np.inf
        row, column = np.unravel_index(alike.argmax(), alike.shape)
        if alike[row, column] > -np.inf:
            a, b = sorted((int(found.one[row]), int(found.other[column])))
            return Question(a=a, b=b, pairs=block.size, chance=found.chance)
    return None


def pairs_of(pairs: Iterable[tuple[str, str]], names: Sequence[str]) -> list[tuple[int, int]]:
    """Rows of pairs of names; those of other names, or of none, are left out."""
    row = {name: n for n, name in enumerate(names) if name}
    return [(row[a], row[b]) for a, b in pairs if a in row and b in row]


@dataclass(frozen=True, eq=False)
class _Open:
    """Two sets of tracklets that might be one person though they are not, or two though they are one."""

    one: Indices
    other: Indices
    chance: float


def _within(tree: Tree) -> Iterator[_Open]:
    """Joins inside groups, which somebody may part again."""
    members = {item: [item] for item in range(tree.items)}
    for first, second, score in zip(
        tree.first.tolist(), tree.second.tolist(), tree.scores.tolist(), strict=True
    ):
        one, other = members[first], members.pop(second)
        members[first] = one + other
        chance = float(expit(-(score + LEVEL) / SLOPE))
        # Scores above 0 are those of who is surely one person.
        if -LEVEL < score <= 0 and chance >= WORTH:
            yield _Open(np.array(one), np.array(other), chance)


def _between(known: ScoreMatrix, of: Indices) -> Iterator[_Open]:
    """Pairs of groups, which somebody may join."""
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(int(of.max(initial=-1)) + 1))
    if len(starts) < 2:
        return
    rows = np.add.reduceat(known[np.ix_(order, order)].astype(np.float64), starts, axis=0)
    sums = np.add.reduceat(rows, starts, axis=1)
    sizes = np.diff(np.append(starts, len(of)))
    chances = expit((sums / np.outer(sizes, sizes) + LEVEL) / SLOPE)
    for one, other in np.argwhere(np.triu(chances >= WORTH, 1)).tolist():
        yield _Open(
            np.sort(order[starts[one] : starts[one] + sizes[one]]),
            np.sort(order[starts[other] : starts[other] + sizes[other]]),
            float(chances[one, other]),
        )


# -- about a gallery, by the vectors that it holds: for the page of the service -------------------------------------


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
        return NO_DOUBT

    def _look(self) -> _Seen | None:
        counts = self._gallery.stats()
        key = (counts.tracklets, *counts.cameras.items(), *counts.sources.items())
        if counts.tracklets < FEWEST:
            return None
        if self._seen is not None and self._seen.key == key:
            return self._seen
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
        self._seen = _Seen(
            key=key,
            names=tuple(given.names[n] for n in rows),
            scores=likeness(across(vectors, directions(vectors, camids)), camids),
            impossible=np.isneginf(evidence.score_matrix()),
            askable=np.ones(len(rows), dtype=np.bool_),
        )
        return self._seen
