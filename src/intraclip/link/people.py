"""Tracklets in, people out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from intraclip.errors import ConfigError, DataError
from intraclip.link.agglomeration import agglomerate
from intraclip.link.changes import Before, Changes, carry
from intraclip.link.evidence import BLOCK, Evidence
from intraclip.link.footage import tells_apart, without_cameras
from intraclip.link.level import best_level

MAX_TRACKLETS = 40_000
"""More would need above 6.4 GB for the scores of all pairs."""

PROBABILITY = 0.2
"""Groups are joined while their pairs are on average this likely to show one person.

Below one half, as many pairs say more than one: on the shipped benchmark the cuts that were best for labelled people
lay at 0.15 to 0.24 on average, and a fixed 0.2 did as well on others (docs/link.md). Raise it for fewer wrong people in
a group.
"""

LIKELIER = 0.5
"""The same without a calibration, where the footage itself says what is likely: likelier one person than two."""

SURE = 0.9
"""The same for a calibration that was learned elsewhere, whose probabilities are too sure (docs/base.md)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class People:
    """Which person every tracklet shows.

    Attributes:
        names: of the tracklets ``[N]``.
        evidence: what was known about them, in the same order.
        person: int64 ``[N]``, above 0. Without an earlier linking person 1 was seen by the most cameras, then in the
            most tracklets; with one, people keep the numbers that they had there.
        probability: float64 ``[N]``, that the tracklet belongs to its person: of the mean log odds between it and the
            person's other tracklets, or, where the footage chose the cut, of a pair at their mean distance. NaN for a
            person of one tracklet, and where neither a calibration nor the footage says anything.
        distance: float64 ``[N]``, mean distance to the person's other tracklets, without cameras' means where the
            footage chose the cut; NaN for a person of one tracklet.
        rule: in words, when two groups were taken for one person.
        threshold: mean distance where the rule stops; with a calibration and without regard to times.
        notes: what the reader should know, in sentences.
        labels: number -> name that a human gave; others are known by their number.
        changes: since the earlier linking; None without one.
        following: the smallest number that was never given, to anybody.
    """

    names: tuple[str, ...]
    evidence: Evidence
    person: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]
    rule: str
    threshold: float
    notes: tuple[str, ...]
    labels: Mapping[int, str] = field(default_factory=dict)
    changes: Changes | None = None
    following: int = 1

    @property
    def count(self) -> int:
        """How many people there are."""
        return len(self._rows)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Everybody's number: most cameras first, then most tracklets, then the first name of a tracklet."""
        return tuple(ranked(self._rows, self.evidence.camids, self.names))

    @cached_property
    def _rows(self) -> dict[int, npt.NDArray[np.int64]]:
        order = np.argsort(self.person, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.person[order])) + 1) if len(order) else []
        return {int(self.person[rows[0]]): rows for rows in parts}

    def members(self, person: int) -> npt.NDArray[np.int64]:
        """Rows of a person's tracklets, by start time, then camera, then name; none for a number that nobody has."""
        rows = self._rows.get(person, np.zeros(0, dtype=np.int64))
        starts = np.full(len(rows), np.nan) if self.evidence.times is None else self.evidence.times[rows, 0]
        # NaN sorts last.
        order = sorted(
            range(len(rows)),
            key=lambda i: (
                math.isnan(starts[i]),
                0.0 if math.isnan(starts[i]) else starts[i],
                int(self.evidence.camids[rows[i]]),
                self.names[rows[i]],
            ),
        )
        return rows[order]

    def cameras(self, person: int) -> list[int]:
        """Cameras that saw a person, ascending."""
        return sorted(set(self.evidence.camids[self._rows.get(person, [])].tolist()))


def link(
    evidence: Evidence,
    names: tuple[str, ...],
    *,
    threshold: float | None = None,
    probability: float | None = None,
) -> People:
    """Group tracklets into people.

    The result does not depend on the order of the tracklets. Memory: 4 bytes a pair, 1.6 GB for 20,000 tracklets.

    Args:
        evidence: N tracklets, and what is known about pairs of them.
        names: all different ``[N]``.
        threshold: without a calibration: groups are joined while their mean distance is below it.
        probability: with a calibration: groups are joined while their mean log odds say more than this, inside (0, 1);
            by default `PROBABILITY`. With neither (by default `LIKELIER`): while their mean distance, cameras' means
            taken out, is one at which the footage itself says this (`intraclip.link.footage`); where it says nothing,
            the cut with the best mean silhouette.

    Raises:
        ConfigError: a threshold beside a calibration, or a value out of range.
        DataError: no tracklets, too many, or names that are not one for each, all different.
    """
    count = len(evidence)
    if probability is None:
        probability = LIKELIER if evidence.calibration is None else PROBABILITY
    if evidence.calibration is not None and threshold is not None:
        raise ConfigError(
            "a threshold and a calibration: give one of them; --probability moves a calibrated link"
        )
    if not 0 < probability < 1:
        raise ConfigError(f"the probability is {probability}; it must lie inside 0 and 1")
    if threshold is not None and not (math.isfinite(threshold) and threshold > 0):
        raise ConfigError(f"the threshold is {threshold}; a distance above 0 is needed")
    if not count:
        raise DataError("there are no tracklets to link")
    if count > MAX_TRACKLETS:
        raise DataError(
            f"{count:,} tracklets are more than the {MAX_TRACKLETS:,} that can be linked at once; link hours or days "
            "one by one"
        )
    if len(names) != count or len(set(names)) != count:
        raise DataError(f"{count} tracklets need {count} different names, got {len(set(names))}")
    # In the order of names: of equal scores the lower row wins, whatever order the tracklets came in.
    order = np.array(sorted(range(count), key=names.__getitem__), dtype=np.int64)
    ordered = evidence.taken(order)
    c = ordered.calibration
    judged, tail, notes = evidence, None, list[str]()
    if c is not None:
        tree = agglomerate(ordered.score_matrix(), ordered.together)
        level = math.log(probability / (1 - probability))
        distance = c.distance_of(probability)
        rule = (
            f"mean log odds above those of a probability of {probability:g} (mean {c.metric} distance below "
            f"{distance:.4g} where times say nothing; prior {c.prior:.3g})"
        )
    elif threshold is not None:
        tree = agglomerate(ordered.score_matrix(), ordered.together)
        level, distance = -threshold, threshold
        rule = f"mean {ordered.metric} distance below {threshold:.4g}, as given"
    elif told := tells_apart(ordered, probability):
        levelled, tail = told
        tree = agglomerate(levelled.score_matrix(), levelled.together)
        distance = tail.distance_of(probability)
        level, judged = -distance, without_cameras(evidence)
        rule = (
            f"mean {ordered.metric} distance below {distance:.4g} after each camera's mean was taken out, where a pair "
            f"shows one person with a probability of {probability:g} by this footage itself ({tail.pairs:,} pairs"
            f"{f', {tail.apart:,} seen at once' if tail.apart else ''})"
        )
    else:
        tree = agglomerate(ordered.score_matrix(), ordered.together)
        level, silhouette = best_level(ordered, tree)
        distance = -level
        rule = (
            f"mean {ordered.metric} distance below {distance:.4g}, the cut with the best mean silhouette "
            f"({silhouette:.2f})"
        )
        notes.append("too few or too even distances to tell people apart by: the silhouette chose the cut")
    if c is None and tail is None:
        notes.append("no calibration: there are no probabilities, and usual travel times are not used")
    groups = np.empty(count, dtype=np.int64)
    groups[order] = tree.cut(level)
    person = _numbered(groups, evidence.camids, names)
    own_probability, own_distance = _membership(judged, person)
    if tail is not None:
        own_probability = np.where(np.isnan(own_distance), np.nan, tail.probability(own_distance))
    return People(
        names=names,
        evidence=evidence,
        person=person,
        probability=own_probability,
        distance=own_distance,
        rule=rule,
        threshold=distance,
        notes=(*_about_times(judged, distance), *notes),
        following=int(person.max()) + 1,
    )


def carried(people: People, before: Before) -> People:
    """The same people, who keep the numbers and names of an earlier linking; see `intraclip.link.changes`."""
    tracklets = {p: [people.names[row] for row in people.members(p).tolist()] for p in people.numbers}
    number, labels, changes = carry(tracklets, before)
    person = np.array([number[p] for p in people.person.tolist()], dtype=np.int64)
    following = max(before.following, int(person.max()) + 1, *(p + 1 for p in before.person.values()))
    return replace(people, person=person, labels=labels, changes=changes, following=following)


def ranked(
    rows: Mapping[int, npt.NDArray[np.int64]], camids: npt.NDArray[np.int64], names: Sequence[str]
) -> list[int]:
    """Groups of rows in order: most cameras first, then most tracklets, then the first name."""
    key = {
        group: (-len(set(camids[members].tolist())), -len(members), min(names[i] for i in members.tolist()))
        for group, members in rows.items()
    }
    return sorted(rows, key=key.__getitem__)


def _numbered(
    groups: npt.NDArray[np.int64], camids: npt.NDArray[np.int64], names: tuple[str, ...]
) -> npt.NDArray[np.int64]:
    """Number groups from 1, in the order of `ranked`."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    rows = {int(groups[part[0]]): part for part in parts}
    person = np.empty(len(groups), dtype=np.int64)
    for number, group in enumerate(ranked(rows, camids, names), start=1):
        person[rows[group]] = number
    return person


def _membership(
    evidence: Evidence, person: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Probability and mean distance of each tracklet to the others of its person; NaN for a person of one."""
    probability, distance = np.full(len(person), np.nan), np.full(len(person), np.nan)
    order = np.argsort(person, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(person[order])) + 1):
        others = len(rows) - 1
        if not others:
            continue
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            oneself = np.arange(len(block)), np.arange(start, start + len(block))
            apart = evidence.distances(block, rows).astype(np.float64)
            apart[oneself] = 0
            distance[block] = apart.sum(axis=1) / others
            if evidence.calibration is not None:
                odds = evidence.scores(block, rows).astype(np.float64)
                odds[oneself] = 0
                # What a human called one person may be what times forbid: such pairs have no odds.
                known = np.isfinite(odds)
                left = np.maximum(known.sum(axis=1) - 1, 1)
                probability[block] = expit(np.where(known, odds, 0).sum(axis=1) / left)
    return probability, distance


def _about_times(evidence: Evidence, threshold: float) -> list[str]:
    """What times forbade, and what they say about the threshold."""
    if not evidence.timed:
        return ["no times: nothing says which tracklets of one camera must be different people"]
    notes = []
    if evidence.timed < len(evidence):
        notes.append(f"{len(evidence) - evidence.timed} tracklets have no times; these forbid nothing")
    known = evidence.forbidden_distances()
    if len(known):
        below = int(np.searchsorted(known, threshold))
        notes.append(
            f"{len(known):,} pairs were seen by one camera at once, so they are two people each; "
            f"{below:,} of them ({100 * below / len(known):.1f} %) are nearer than the threshold and were kept apart "
            "by time alone"
        )
    return notes
