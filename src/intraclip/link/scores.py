"""How well groups of tracklets agree with known identities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, eye_array, hstack
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from intraclip.arrays import as_whole
from intraclip.errors import DataError
from intraclip.types import DISTRACTOR_PID

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LinkScores:
    """Agreement of people found with people known, shares of 0..1.

    Only tracklets with a pid above 0 are known. Distractors (pid 0) are nobody of these: grouped with a known tracklet
    they are wrong, among themselves they are not scored. Junk and unlabelled tracklets are left out.

    Attributes:
        precision: of the pairs of tracklets put together, the share that shows one person; 1 if no pair was.
        recall: of the pairs that show one person, the share put together; 1 if there is none.
        f1: harmonic mean of both.
        bcubed_precision: mean over known tracklets of the share of their group that is the same person, themselves
            included (Bagga & Baldwin, "Entity-based cross-document coreferencing", 1998).
        bcubed_recall: mean over known tracklets of the share of their person that is in their group.
        bcubed_f1: harmonic mean of both.
        idp: identity precision IDTP / (IDTP + IDFP) of Ristani et al., "Performance measures and a data set for
            multi-target, multi-camera tracking", 2016. Known and found people are matched one to one so that the
            most frames agree: those are IDTP. IDFP are the other frames of the groups that hold a known tracklet,
            IDFN the other frames of known people. Tracklets are taken as given: detection is not scored.
        idr: identity recall IDTP / (IDTP + IDFN).
        idf1: 2 IDTP / (2 IDTP + IDFP + IDFN).
        known: tracklets with a pid above 0.
        identities: known people.
        people: people found among the tracklets that are scored.
        weighted: whether tracklets count by their frames; otherwise each counts 1 in the identity scores.
    """

    precision: float
    recall: float
    f1: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f1: float
    idp: float
    idr: float
    idf1: float
    known: int
    identities: int
    people: int
    weighted: bool


def score_people(person: Numbers, pids: Numbers, frames: Numbers | None = None) -> LinkScores:
    """Compare groups with identities.

    Args:
        person: int64 ``[N]``, group of each tracklet; any numbers.
        pids: int64 ``[N]``; above 0 known, 0 distractor, below 0 left out.
        frames: int64 ``[N]``, frames of each tracklet, above 0; None counts every tracklet once.

    Raises:
        DataError: lengths differ, a tracklet without frames, or no known tracklet.

    >>> found = score_people(np.array([1, 1, 2, 2]), np.array([7, 7, 7, 8]))
    >>> found.precision, found.recall, found.idf1
    (0.5, 0.3333333333333333, 0.75)
    """
    person, pids = as_whole(person, name="groups"), as_whole(pids, name="pids")
    frames = None if frames is None else as_whole(frames, name="frames")
    if person.ndim != 1 or person.shape != pids.shape or (frames is not None and frames.shape != pids.shape):
        raise DataError(
            f"groups {list(person.shape)} and pids {list(pids.shape)}: one each is needed, and one number of frames"
        )
    if frames is not None and (frames < 1).any():
        raise DataError("every tracklet needs at least one frame to be weighted by")
    scored = pids >= DISTRACTOR_PID
    known = pids[scored] > DISTRACTOR_PID
    if not known.any():
        raise DataError("no tracklet has a pid above 0; groups can only be scored where identities are known")
    group = np.unique(person[scored], return_inverse=True)[1]
    weight = np.ones(len(group), dtype=np.float64) if frames is None else frames[scored].astype(np.float64)
    identity = np.unique(pids[scored][known], return_inverse=True)[1]
    shape = (int(identity.max()) + 1, int(group.max()) + 1)

    def table(values: npt.NDArray[np.float64]) -> Any:
        """Known people by groups, summed."""
        return coo_array((values, (identity, group[known])), shape=shape).tocsr()

    counts = table(np.ones(int(known.sum())))
    sizes = np.bincount(group, minlength=shape[1]).astype(np.float64)
    strangers = sizes - np.asarray(counts.sum(axis=0))
    persons = np.asarray(counts.sum(axis=1))
    together = counts.data
    # Every pair of tracklets, but those of two distractors: nobody knows whether they are one person.
    right = float((together * (together - 1) / 2).sum())
    joined = float((sizes * (sizes - 1) / 2 - strangers * (strangers - 1) / 2).sum())
    wanted = float((persons * (persons - 1) / 2).sum())
    cells = counts.tocoo()
    bcubed_precision = float((cells.data**2 / sizes[cells.coords[1]]).sum() / known.sum())
    bcubed_recall = float((cells.data**2 / persons[cells.coords[0]]).sum() / known.sum())
    overlap = table(weight[known])
    idtp = _matched(overlap)
    with_known = np.unique(group[known])
    found = float(np.bincount(group, weights=weight)[with_known].sum())
    true = float(weight[known].sum())
    precision, recall = right / joined if joined else 1.0, right / wanted if wanted else 1.0
    return LinkScores(
        precision=precision,
        recall=recall,
        f1=_harmonic(precision, recall),
        bcubed_precision=bcubed_precision,
        bcubed_recall=bcubed_recall,
        bcubed_f1=_harmonic(bcubed_precision, bcubed_recall),
        idp=idtp / found,
        idr=idtp / true,
        idf1=2 * idtp / (found + true),
        known=int(known.sum()),
        identities=shape[0],
        people=len(with_known),
        weighted=frames is not None,
    )


def _matched(overlap: Any) -> float:
    """Largest sum of entries with at most one in each row and column; they are whole numbers."""
    # Everybody may be matched with nobody, which for all of them together is worth less than one.
    nobody = eye_array(overlap.shape[0]) / (2 * overlap.shape[0])
    chosen = min_weight_full_bipartite_matching(hstack([overlap, nobody], format="csr"), maximize=True)
    rows, columns = (places[chosen[1] < overlap.shape[1]] for places in chosen)
    return float(overlap[rows, columns].sum())


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
