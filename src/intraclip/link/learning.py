"""Times between cameras, learned without labels: from the links that are sure by their looks alone.

People whom two cameras saw took some time from one to the other, and two people who were never the same took any time
at all. So the surest links tell which times are likely (Makris, Ellis and Black, "Bridging the gaps between cameras",
CVPR 2004; Lv, Chen, Li and Yang, "Unsupervised cross-dataset person re-identification by transfer learning of
spatio-temporal patterns", CVPR 2018). docs/link.md has the steps: sure links, counts against those of everybody else,
all pairs of cameras together before each alone, and nothing that does not foretell what it was not learned from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from intraclip.link.agglomeration import Indices
from intraclip.link.evidence import BLOCK, Evidence
from intraclip.link.footage import without_cameras
from intraclip.link.people import FULL, People
from intraclip.link.source import is_unknown
from intraclip.link.transit import EDGES, FEW, TransitTimes, bins

LEAST = 10
"""Sure links without which nothing is learned."""

DOUBT = 4.0
"""Links by chance that are added to those found."""

DRAWS = 99
"""Draws by chance that what was learned must be better than."""

KEPT = 0.8
"""Share of the sure links that must still be one person with the times that were learned from them."""

Links = Indices
Shares = npt.NDArray[np.float64]


def learn_times(people: People) -> tuple[TransitTimes | None, str]:
    """Learn from people who were found by their looks.

    Returns:
        What was learned, None if nothing was, and why, in a sentence; an empty one where there are no times to learn
        from, a single camera, or times whose recordings are unknown.
    """
    order = np.argsort(np.array(people.names))
    evidence, person = people.evidence.taken(order), people.person[order]
    known = np.flatnonzero(np.isfinite(evidence.clocked).all(axis=1))
    if len(np.unique(evidence.camids[known])) < 2:
        return None, ""
    if any(map(is_unknown, evidence.sources)):
        return None, ""  # that was said, and what to do
    several = evidence.several_recordings()
    if several is not None:
        return None, (
            f"camera {several} has several recordings, each with times from 0: no times between cameras were learned; "
            "if all times are on one clock, add --one-clock"
        )
    if len(evidence) > FULL:
        return None, f"times between cameras are learned of up to {FULL:,} tracklets"
    evidence, person = evidence.taken(known), person[known]
    links = sure_links(_looks(evidence), person)
    if len(links) < LEAST:
        return (
            None,
            f"too few sure links to learn times between cameras from ({len(links)}; {LEAST} are needed)",
        )
    cameras = np.sort(evidence.camids[links], axis=1)
    pairs = np.unique(cameras, axis=0, return_inverse=True)[1].ravel()
    one, two = _gaps_of_one(evidence, person, links), _gaps_of_two(evidence, links)
    everywhere = _everywhere(one, two, pairs)
    common = np.zeros(one.shape[1]) if everywhere is None else everywhere
    own = _own(one, two, pairs, common)
    if everywhere is None and not own:
        return None, (
            f"the {len(links)} surest links between cameras do not say how long people take from one to another, as "
            "where the cameras' clocks disagree: times between cameras were not used"
        )
    seconds = evidence.gaps(links[:, 0], links[:, 1])
    places = {
        number: (int(a), int(b)) for number, (a, b) in zip(pairs.tolist(), cameras.tolist(), strict=True)
    }
    times = TransitTimes(
        log_ratio=common,
        own={places[number]: ratios for number, ratios in own.items()},
        gaps={places[n]: tuple(np.sort(seconds[pairs == n]).tolist()) for n in sorted(places)},
    )
    where = "" if everywhere is not None else f", {len(own)} of {len(places)} pairs of cameras alone"
    if everywhere is None:
        seconds = seconds[np.isin(pairs, list(own))]
    return times, (
        f"times between cameras were learned from the {len(links)} surest links{where}: half of these people took "
        f"{np.median(seconds):.1f} s or less from one camera to another"
    )


def still_linked(before: People, after: People) -> float:
    """Share of the sure links of one grouping that another of the same tracklets in the same order has too, 0..1."""
    links = sure_links(_looks(before.evidence), before.person)
    return float((after.person[links[:, 0]] == after.person[links[:, 1]]).mean()) if len(links) else 1.0


def _looks(evidence: Evidence) -> Evidence:
    return without_cameras(replace(evidence, calibration=None, transit=None, unit=0.0))


def sure_links(evidence: Evidence, person: Indices) -> Links:
    """Pairs of rows, int64 ``[L, 2]``, that are each other's nearest in all other cameras and one person."""
    count = len(evidence)
    nearest = np.empty(count, dtype=np.int64)
    columns = np.arange(count)
    for start in range(0, count, BLOCK):
        rows = columns[start : start + BLOCK]
        distances = evidence.distances(rows, columns)
        distances[evidence.camids[rows][:, None] == evidence.camids] = np.inf
        nearest[rows] = distances.argmin(axis=1)
    sure = (nearest[nearest] == columns) & (columns < nearest) & (person[nearest] == person)
    sure &= evidence.camids[nearest] != evidence.camids
    return np.stack([columns[sure], nearest[sure]], axis=1)


def _shares(gaps: npt.NDArray[np.float64]) -> Shares:
    """Share of gaps in each bin ``[K]``."""
    found = np.bincount(bins(gaps.ravel()), minlength=len(EDGES) - 1)
    return np.asarray(found / found.sum())


def _gaps_of_one(evidence: Evidence, person: Indices, links: Links) -> Shares:
    """Of every link: gaps between all tracklets of its person in its two cameras ``[L, K]``."""
    found = []
    for pair in links:
        first, second = (
            np.flatnonzero((person == person[row]) & (evidence.camids == evidence.camids[row]))
            for row in pair
        )
        found.append(_shares(evidence.gaps(first[:, None], second)))
    return np.array(found)


def _gaps_of_two(evidence: Evidence, links: Links) -> Shares:
    """Of every link: gaps between one of its tracklets and everybody in the camera of the other ``[L, K]``."""
    found = []
    for pair in links:
        there = [np.flatnonzero(evidence.camids == evidence.camids[row]) for row in pair]
        both = [evidence.gaps(pair[0], there[1]), evidence.gaps(pair[1], there[0])]
        found.append(_shares(np.concatenate(both)))
    return np.array(found)


def _smooth(shares: Shares) -> Shares:
    """Half of every share of a bin, and a quarter of either neighbour's; being seen at once is unlike any gap."""
    gaps = shares[:, 1:]
    below = np.concatenate([gaps[:, :1], gaps[:, :-1]], axis=1)
    above = np.concatenate([gaps[:, 1:], gaps[:, -1:]], axis=1)
    return np.concatenate([shares[:, :1], 0.5 * gaps + 0.25 * (below + above)], axis=1)


def _everywhere(one: Shares, two: Shares, pairs: Indices) -> Shares | None:
    """Log ratios ``[K]`` that all pairs of cameras have in common; None unless some foretell the others.

    Gaps of one person and of two are ``[L, K]``; `pairs` has the number of the two cameras of every link ``[L]``.
    """
    # Few pairs cannot foretell each other: links do then.
    groups = pairs if pairs.max() >= 2 else np.arange(len(pairs))
    inside = np.eye(groups.max() + 1)[groups]
    theirs = _smooth(two)
    no_others = theirs.sum(axis=0) - inside.T @ theirs

    def gain(found: Shares) -> float:
        ours = _smooth(found)
        ratios = _ratios(ours.sum(axis=0) - inside.T @ ours, no_others)
        return float((found * ratios[groups]).sum())

    return _ratios(_smooth(one).sum(axis=0), theirs.sum(axis=0)) if _by_no_chance(gain, one, two) else None


def _own(one: Shares, two: Shares, pairs: Indices, common: Shares) -> dict[int, Shares]:
    """Log ratios ``[K]`` of the pairs of cameras whose links foretell each other better than those of all pairs do."""
    inside = np.eye(pairs.max() + 1)[pairs]
    several = inside.sum(axis=0) >= FEW
    theirs = _smooth(two)
    of_pair = inside.T @ theirs

    def gains(found: Shares) -> Shares:
        ours = _smooth(found)
        left = _ratios((inside.T @ ours)[pairs] - ours, of_pair[pairs] - theirs, common)
        return np.asarray(several * (inside.T @ (found * (left - common)).sum(axis=1)))

    expected = two * np.exp(common)
    if not _by_no_chance(lambda found: float(gains(found).sum()), one, expected):
        return {}
    ratios = _ratios(inside.T @ _smooth(one), of_pair, common)
    return {int(pair): ratios[pair] for pair in np.flatnonzero(gains(one) > 0)}


def _ratios(one: Shares, two: Shares, common: Shares | float = 0.0) -> Shares:
    """Log ratios of counts ``[..., K]``; links as they would be by chance, or by what is common, are added to both."""
    chance = DOUBT * two / np.maximum(two.sum(axis=-1, keepdims=True), 1e-9)
    return np.asarray(np.log((one + chance * np.exp(common) + 1e-3) / (two + chance + 1e-3)))


def _by_no_chance(gain: Callable[[Shares], float], one: Shares, two: Shares) -> bool:
    """Whether links gain more than nothing, and more than in any draw where each has one gap of two people."""
    found = gain(one)
    if not found > 0:
        return False
    rng = np.random.default_rng(0)
    up_to = two.cumsum(axis=1)
    bin_of = np.eye(two.shape[1])
    for _ in range(DRAWS):
        drawn = (up_to < rng.random((len(two), 1)) * up_to[:, -1:]).sum(axis=1)
        if gain(bin_of[np.minimum(drawn, two.shape[1] - 1)]) >= found:
            return False
    return True
