"""Tracklets in, people out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from intraclip.core.numbers import is_number
from intraclip.errors import ConfigError, DataError
from intraclip.link.agglomeration import Indices, Tree, agglomerate, members_of
from intraclip.link.changes import Before, Changes, carry
from intraclip.link.evidence import BLOCK, Evidence
from intraclip.link.footage import Tail, tells_apart, without_cameras
from intraclip.link.level import SAMPLE, best_level
from intraclip.link.neighbours import NEAREST, PAIRS, agglomerate_near, near_pairs
from intraclip.metrics.distance import paired_distances

FULL = 20_000
"""Up to so many tracklets all pairs are held, 1.6 GB; of more, those that are near enough (`neighbours`)."""

SAME = 1e-6
"""Vectors nearer than this are one and the same, however many others are."""

PROBABILITY = 0.2
"""Groups are joined while their pairs are on average this likely to show one person.

Below one half, as many pairs say more than one: on the shipped benchmark the cuts that were best for labelled people
lay at 0.15 to 0.24 on average, and a fixed 0.2 did as well on others. Raise it for fewer wrong people in a group.
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
        labels: number -> name that a human gave; others are known by their number.
        changes: since the earlier linking; None without one.
        following: the smallest number that was never given, to anybody.
    """

    names: tuple[str, ...]
    evidence: Evidence
    person: Indices
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
    def _rows(self) -> dict[int, Indices]:
        return members_of(self.person)

    def members(self, person: int) -> Indices:
        """Rows of a person's tracklets, by start time, then camera, then name; none for a number that nobody has."""
        rows = self._rows.get(person, np.zeros(0, dtype=np.int64))
        starts = np.zeros(len(rows)) if self.evidence.times is None else self.evidence.times[rows, 0]
        # Of several keys the last one counts first; NaN sorts last.
        return rows[np.lexsort(([self.names[row] for row in rows], self.evidence.camids[rows], starts))]

    def cameras(self, person: int) -> list[int]:
        """Cameras that saw a person, ascending."""
        return sorted(set(self.evidence.camids[self._rows.get(person, [])].tolist()))


def require_levels(threshold: float | None, probability: float | None, *, calibrated: bool) -> None:
    """Refuse a threshold or a probability that cannot be, or a threshold beside a calibration.

    Raises:
        ConfigError: so it is.
    """
    if calibrated and threshold is not None:
        raise ConfigError(
            "a threshold and a calibration: give one of them; --probability moves a calibrated link"
        )
    if probability is not None and not (is_number(probability) and 0 < probability < 1):
        raise ConfigError(f"the probability is {probability}; it must lie inside 0 and 1")
    if threshold is not None and not (is_number(threshold) and threshold > 0):
        raise ConfigError(f"the threshold is {threshold}; a distance above 0 is needed")


def link(
    evidence: Evidence,
    names: tuple[str, ...],
    *,
    threshold: float | None = None,
    probability: float | None = None,
) -> People:
    """Group tracklets into people.

    The result does not depend on the order of the tracklets. Memory: 4 bytes a pair, 1.6 GB for 20,000 tracklets, and
    no more for more than those (`intraclip.link.neighbours`).

    Args:
        evidence: N tracklets, and what is known about pairs of them.
        names: all different ``[N]``.
        threshold: without a calibration: groups are joined while their mean distance is below it.
        probability: with a calibration: groups are joined while their mean log odds say more than this, inside (0, 1);
            by default `PROBABILITY`. With neither: while their mean distance, cameras' means taken out, is one at which
            the footage itself says this (`intraclip.link.footage`). None there, or where it says nothing: see
            `_by_itself`.

    Raises:
        ConfigError: a threshold beside a calibration, or a value out of range.
        DataError: no tracklets, or names that are not one for each, all different.
    """
    count = len(evidence)
    asked = probability is not None
    if probability is None:
        probability = LIKELIER if evidence.calibration is None else PROBABILITY
    require_levels(threshold, probability, calibrated=evidence.calibration is not None)
    if not count:
        raise DataError("there are no tracklets to link")
    if len(names) != count or len(set(names)) != count:
        raise DataError(f"{count} tracklets need {count} different names, got {len(set(names))}")
    # In the order of names: of equal scores the lower row wins, whatever order the tracklets came in.
    order = np.array(sorted(range(count), key=names.__getitem__), dtype=np.int64)
    ordered = evidence.taken(order)
    c = ordered.calibration
    judged, tail, notes = evidence, None, list[str]()
    if c is not None:
        level = math.log(probability / (1 - probability))
        tree = _tree(ordered, level, notes)
        distance = c.distance_of(probability)
        rule = (
            f"mean log odds above those of a probability of {probability:g} (mean {c.metric} distance below "
            f"{distance:.4g} where times say nothing; prior {c.prior:.3g})"
        )
    elif threshold is not None:
        level, distance = -threshold, threshold
        tree = _tree(ordered, level, notes)
        rule = f"mean {ordered.metric} distance below {threshold:.4g}, as given"
    else:
        levelled, tree, level, tail, rule = _by_itself(ordered, probability, asked, notes)
        distance, judged = -level, levelled.taken(np.argsort(order))
    if c is None and tail is None:
        usual = evidence.travel is not None and evidence.travel.has_usual
        unused = ", and usual travel times are not used" if usual else ""
        notes.append(f"no calibration: there are no probabilities{unused}")
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


def left(people: People, rows: Indices) -> People:
    """The people of some of the tracklets alone."""
    return replace(
        people,
        names=tuple(people.names[row] for row in rows.tolist()),
        evidence=people.evidence.taken(rows),
        person=people.person[rows],
        probability=people.probability[rows],
        distance=people.distance[rows],
    )


def carried(people: People, before: Before) -> People:
    """The same people, who keep the numbers and names of an earlier linking; see `intraclip.link.changes`."""
    tracklets = {p: [people.names[row] for row in people.members(p).tolist()] for p in people.numbers}
    number, labels, changes = carry(tracklets, before)
    person = np.array([number[p] for p in people.person.tolist()], dtype=np.int64)
    following = max(before.following, int(person.max()) + 1, *(p + 1 for p in before.person.values()))
    return replace(people, person=person, labels=labels, changes=changes, following=following)


def _by_itself(
    evidence: Evidence, probability: float, asked: bool, notes: list[str]
) -> tuple[Evidence, Tree, float, Tail | None, str]:
    """Where neither a calibration nor a threshold is given: tree and level, of what; what the footage says; why.

    With several cameras there are three ways to find the level, which fail in different directions, so the one in the
    middle is taken: the silhouette splits people whom a camera saw twice nearly alike, the silhouette across cameras
    joins those whom few cameras saw, and the tail of the distances is unsure where there are few pairs.
    """
    told = tells_apart(evidence, probability)
    levelled, tail = told or (without_cameras(evidence), None)
    if tail is None:
        notes.append("too few or too even distances to tell people apart by: the silhouette chose the cut")
        # A camera's mean may be the very person whom it saw most; of many tracklets it is not.
        kinds = [levelled] if levelled is evidence or len(evidence) > FULL else [evidence, levelled]
        cuts = [_by_silhouette(kind, notes) for kind in kinds]
        levelled, tree, level, silhouette = max(cuts, key=lambda cut: cut[-1])
        why = f"the cut with the best mean silhouette ({silhouette:.2f})"
    elif asked or len(evidence) > FULL or len(np.unique(evidence.camids)) == 1:
        level = -tail.distance_of(probability)
        tree = _tree(levelled, level, notes)
        why = f"where a pair shows one person with a probability of {probability:g} by this footage itself"
    else:
        _, tree, tight, _ = _by_silhouette(levelled, notes)
        ways = (tight, best_level(levelled, tree, across=True)[0], -tail.distance_of(probability))
        level = sorted(ways)[1]
        best, across, said = (f"{-way:.4g}" for way in ways)
        why = (
            f"the middle of three: {best}, the cut with the best mean silhouette; {across}, the one with the best "
            f"across cameras; and {said}, where a pair shows one person with a probability of {probability:g} by this "
            "footage itself"
        )
    where = "" if levelled is evidence else " after each camera's mean was taken out"
    if evidence.transit is not None:
        where += ", less what learned times between cameras say"
    pairs = ""
    if tail is not None:
        pairs = f" ({tail.pairs:,} pairs{f', {tail.apart:,} seen at once' if tail.apart else ''})"
    return (
        levelled,
        tree,
        level,
        tail,
        f"mean {evidence.metric} distance below {-level:.4g}{where}, {why}{pairs}",
    )


def _by_silhouette(evidence: Evidence, notes: list[str]) -> tuple[Evidence, Tree, float, float]:
    """The evidence, its tree, and the level of the cut with the best mean silhouette, with that silhouette."""
    widest = _crowded(evidence)
    if math.isfinite(widest):
        notes.append(f"of so many tracklets only cuts below a distance of {widest:.4g} were tried")
    tree = _tree(evidence, -widest, notes)
    level, silhouette = best_level(evidence, tree)
    return evidence, tree, min(level, -SAME), silhouette


def _tree(evidence: Evidence, level: float, notes: list[str]) -> Tree:
    """All joins, or of many tracklets those that score more than a level."""
    if len(evidence) <= FULL:
        return agglomerate(evidence.score_matrix(), evidence.together)
    pairs, floor = near_pairs(evidence, level)
    tree, pruned = agglomerate_near(len(evidence), pairs, level, evidence.scores, evidence.together)
    if floor > level:
        notes.append(
            f"more pairs are near enough than can be held: the best {len(pairs):,} were looked at, and people "
            "may be found as several; a higher --probability, a smaller --threshold, or days one by one leave fewer"
        )
    if pruned:
        notes.append(
            f"{pruned:,} groups were near so many others that only the nearest {NEAREST} were compared further"
        )
    return tree


def _crowded(evidence: Evidence) -> float:
    """Distance within which a tracklet of many has so many others that no more can be held; any is wider for few."""
    count = len(evidence)
    if count <= FULL:
        return math.inf
    rows = np.unique(np.linspace(0, count - 1, SAMPLE).astype(np.int64))
    others = ~np.eye(len(rows), dtype=np.bool_)
    return float(np.quantile(evidence.distances(rows, rows)[others], min(1.0, PAIRS / count)))


def ranked(rows: Mapping[int, Indices], camids: Indices, names: Sequence[str]) -> list[int]:
    """Groups of rows in order: most cameras first, then most tracklets, then the first name."""
    key = {
        group: (-len(set(camids[members].tolist())), -len(members), min(names[i] for i in members.tolist()))
        for group, members in rows.items()
    }
    return sorted(rows, key=key.__getitem__)


def _numbered(groups: Indices, camids: Indices, names: tuple[str, ...]) -> Indices:
    """Number groups from 1, in the order of `ranked`."""
    rows = members_of(groups)
    person = np.empty(len(groups), dtype=np.int64)
    for number, group in enumerate(ranked(rows, camids, names), start=1):
        person[rows[group]] = number
    return person


def _membership(
    evidence: Evidence, person: Indices
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Probability and mean distance of each tracklet to the others of its person; NaN for a person of one."""
    probability, distance = np.full(len(person), np.nan), np.full(len(person), np.nan)
    for rows in members_of(person).values():
        others = len(rows) - 1
        if not others:
            continue
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            oneself = np.arange(len(block)), np.arange(start, start + len(block))
            apart = evidence.apartness(block, rows).astype(np.float64)
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
    known = below = 0
    for first, second in evidence.pairs_at_once():
        distances = paired_distances(
            evidence.features, evidence.features, rows=first, columns=second, distance=evidence.metric
        )
        known, below = known + len(distances), below + int((distances < threshold).sum())
    if known:
        notes.append(
            f"{known:,} pairs were seen by one camera at once, so they are two people each; "
            f"{below:,} of them ({100 * below / known:.1f} %) are nearer than the threshold and were kept apart "
            "by time alone"
        )
    return notes
