"""What people said about pairs of tracklets, and all that follows from it.

If a and b are one person, and b and c, so are a and c; if b and d are two, so are a and d, and c and d. What the
footage says is closed in the same way. Contradictions are taken as by `gallery.labels.people_of` and `link`: nothing is
joined by what was said of that group, and what was called different stays apart. A person's word goes before times.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intraclip.gallery.answers import SAME, UNSURE
from intraclip.gallery.gallery import Gallery
from intraclip.gallery.labels import contradictions_note, label_numbers, people_of
from intraclip.gallery.records import Judgement
from intraclip.link.agglomeration import Indices

UNSURE_PAPER = "unsure"
"""Kind of the gallery's papers on pairs that somebody could not tell."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Settled:
    """What is certain about pairs of N tracklets.

    Attributes:
        group: int64 ``[N]``, the smallest row of those that are surely the same person as a tracklet; its own if none.
        apart: bool ``[N, N]``, pairs that are surely two people.
        notes: contradictions, in sentences.
    """

    group: Indices
    apart: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    @property
    def together(self) -> npt.NDArray[np.bool_]:
        """Pairs that are surely one person, bool ``[N, N]``; nobody is a pair with itself."""
        found = self.group[:, None] == self.group
        np.fill_diagonal(found, False)
        return np.asarray(found)


def settle(
    impossible: npt.NDArray[np.bool_],
    names: Sequence[str] = (),
    judgements: Iterable[Judgement] = (),
    labels: Mapping[str, str] | None = None,
) -> Settled:
    """All that follows from footage, judgements and labels.

    Args:
        impossible: bool ``[N, N]``, symmetric, pairs that cannot be one person by the footage.
        names: of the tracklets ``[N]``; judgements and labels of others count by what follows for these.
        judgements: what people said.
        labels: names of people by tracklet; two names are two people.
    """
    judgements, labels = list(judgements), labels or {}
    row = {name: n for n, name in enumerate(names)}
    everyone = {*row, *labels, *(name for j in judgements for name in (j.query, j.tracklet))}
    people, conflicts = people_of({i: labels.get(i, "") for i in everyone}, judgements)
    group = np.arange(len(impossible))
    of = {i: n for n, members in enumerate(people) for i in members}
    for members in people:
        if rows := sorted(row[i] for i in members if i in row):
            group[rows] = rows[0]
    # Groups that are two people: by a judgement between any two of theirs, or by their labels. A tracklet that belongs
    # to none stands for itself.
    strange: list[tuple[list[int], list[int]]] = []
    for j in judgements:
        if not j.same:
            one, other = (
                [row[i] for i in (people[of[name]] if name in of else [name]) if i in row]
                for name in (j.query, j.tracklet)
            )
            strange.append((one, other))
    named = label_numbers(people, labels, row, len(group))
    apart = impossible & (group[:, None] != group)
    for one, other in strange:
        apart[np.ix_(one, other)] = apart[np.ix_(other, one)] = True
    apart |= (named[:, None] != named) & (named[:, None] > 0) & (named > 0)
    # What one of a group is apart from, all of it is.
    for first in np.flatnonzero(np.bincount(group, minlength=1) > 1).tolist():
        own = np.flatnonzero(group == first)
        others = apart[own].any(axis=0)
        apart[np.ix_(own, others)] = apart[np.ix_(others, own)] = True
    return Settled(group=group, apart=apart, notes=(contradictions_note(conflicts),) if conflicts else ())


# -- what a gallery keeps ------------------------------------------------------------------------------------


def keep(gallery: Gallery, query: str, tracklet: str, answer: str, *, by: str) -> None:
    """Keep an answer in a gallery: a judgement, or a paper for who could not tell. Replaces what was said before.

    Raises:
        DataError: one of the two is not there any more.
    """
    if answer == UNSURE:
        gallery.put_paper(
            UNSURE_PAPER,
            _key(query, tracklet),
            {"by": by, "at": time.time()},
            [query, tracklet],
            needs_all=True,
        )
        return
    gallery.judge(query, tracklet, same=answer == SAME, by=by)
    gallery.drop_paper(UNSURE_PAPER, _key(query, tracklet))


def take_back(gallery: Gallery, query: str, tracklet: str) -> None:
    """Forget what was said about two tracklets, also that nobody could tell."""
    gallery.retract(query, tracklet)
    gallery.drop_paper(UNSURE_PAPER, _key(query, tracklet))


def unsure_of(gallery: Gallery) -> list[tuple[str, str]]:
    """Pairs that somebody could not tell."""
    papers = gallery.papers(UNSURE_PAPER).values()
    return [(first, second) for first, second in (paper["tracklets"] for paper in papers)]


def labels_of(gallery: Gallery) -> dict[str, str]:
    """Labels that people gave, by tracklet."""
    return {record.id: record.person for record in gallery.all_records() if record.person}


def _key(query: str, tracklet: str) -> str:
    """Of the paper about a pair, whichever came first; ids may be longer than a key."""
    return hashlib.sha256("\n".join(sorted((query, tracklet))).encode()).hexdigest()[:32]
