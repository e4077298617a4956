"""What makes numbers wrong in this field, looked for in the embeddings themselves.

Each check gives one finding or none. What it costs is measured: the scores as the file stands, and once the finding
is mended. Files whose lengths differ or that hold NaN never come here: reading refuses them and names the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from intraclip.errors import DataError
from intraclip.metrics.counting import Counting, Ties, count
from intraclip.metrics.distance import Distance, largest, paired_distances
from intraclip.metrics.embeddings import Embeddings, take
from intraclip.metrics.protocols import Protocol
from intraclip.metrics.ranking import score
from intraclip.types import JUNK_PID

NEAR = 0.05
"""Share of the median distance of one person across cameras, below which two tracklets are taken for one."""

_CONSTANT = 1e-5
"""Spread of every feature, relative to the largest value, below which all rows are one vector."""

_WRAPPED = (2**16 - 1, 2**32 - 1)
"""What -1 becomes in unsigned integers of 16 and 32 bits, such as those of MARS's tables."""

_CAMERA = re.compile(
    r"^(?:00-1|\d{4})C(\d+)T\d|^-?\d+_c(\d+)|(?:^|[^a-z])cam(?:era)?[_-]?(\d+|[a-z](?![a-z]))", re.IGNORECASE
)
"""Cameras in names: 0001C2T0003 (MARS), 0001_c2s1 (Market-1501, LS-VID), cam2_person001, cam_a_person_0001."""

REMEDIES: dict[str, str] = {
    "same-camera-left-in": "write the camera of each tracklet; of one camera alone, use --protocol within-camera",
    "camids-of-frames": "write one camid a tracklet, in the order of the pids",
    "camids-against-names": "write the camera of each tracklet",
    "query-finds-itself": "take the query out of the gallery, or give both rows the camid of the tracklet",
    "queries-in-gallery": "leave the copies out; protocols that search the queries add them on their own",
    "rows-twice": "write each tracklet once",
    "one-vector-for-several": "look for frames that cannot be read, padding, or wrong pids",
    "near-duplicates": "look at both tracklets; leave one out, or give both the camera that filmed them",
    "junk-counted": "write pid -1, and widen unsigned tables before arithmetic",
    "pids-from-zero": "add 1 to all pids",
    "queries-of-nobody": "mark them as no queries; `score` does not count them",
    "train-people": "test other people; where both sets number theirs from 1, give them different pids",
    "constant-features": "look at the network's input range and weights; no score of such features means anything",
    "ties-by-order": "count ties against the right answer, as `score` does; look for repeated or rounded features",
}
"""What to do, by fault: the names of all findings."""

_REPEATED = {
    "query-finds-itself": "of the gallery are a query to the bit under another camid: it finds itself",
    "queries-in-gallery": "of the gallery copy a query, camid and all: right answers to the person's other queries, so "
    "that the queries are searched whatever the protocol says",
    "rows-twice": "repeat a tracklet of their side and are counted twice",
    "one-vector-for-several": "share their features to the bit with somebody of another pid",
}

_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that makes numbers wrong.

    Attributes:
        fault: its name, such as ``query-finds-itself``.
        what: what was found, in a sentence.
        rows: of the embeddings, that it is about.
        before: rank-1 and mAP, 0..1, with it; None where the file cannot be scored.
        after: the same once it is mended; None where the file cannot tell.
    """

    fault: str
    what: str
    rows: tuple[int, ...]
    before: Mapping[str, float] | None = None
    after: Mapping[str, float] | None = None

    def to_json_dict(self, names: tuple[str, ...] = ()) -> dict[str, Any]:
        """Plain values; `names` are those of all rows, if there are any."""
        found = {**asdict(self), "rows": list(self.rows), "remedy": REMEDIES[self.fault]}
        return {**found, "names": [names[i] for i in self.rows]} if names else found


@dataclass(frozen=True, kw_only=True)
class _Case:
    embeddings: Embeddings
    protocol: Protocol
    distance: Distance
    train: Embeddings | None
    before: Mapping[str, float] | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "before", self.scores(self.embeddings))

    def scores(self, embeddings: Embeddings) -> dict[str, float] | None:
        try:
            found = score(embeddings, self.protocol, distance=self.distance)
        except DataError:
            return None
        return {"rank1": found.rank(1), "mAP": found.mAP}

    def finding(
        self, fault: str, rows: Iterable[int], what: str, mended: Embeddings | None = None, **scores: Any
    ) -> Finding:
        scores = {"before": self.before, "after": mended and self.scores(mended), **scores}
        return Finding(fault=fault, what=what, rows=tuple(map(int, rows)), **scores)

    def without(self, rows: npt.ArrayLike) -> Embeddings:
        return take(self.embeddings, np.setdiff1d(np.arange(len(self.embeddings)), rows))


def audit(
    embeddings: Embeddings,
    protocol: Protocol,
    *,
    distance: Distance = "euclidean",
    train: Embeddings | None = None,
) -> list[Finding]:
    """Look for everything that is known to make numbers wrong."""
    case = _Case(embeddings=embeddings, protocol=protocol, distance=distance, train=train)
    return [finding for check in CHECKS for finding in check(case)]


def repeated_rows(features: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs (row, earlier row) with exactly the same features."""
    first: dict[bytes, int] = {}
    found = []
    for i, row in enumerate(features):
        earlier = first.setdefault(row.tobytes(), i)
        if earlier != i:
            found.append((i, earlier))
    return found


# -- cameras ---------------------------------------------------------------------------------------------------


def cameras_in_names(names: tuple[str, ...]) -> _Rows | None:
    """Cameras that the names tell, int64 ``[N]``, numbered from 1 in the order of their text; None if any is silent.

    >>> cameras_in_names(("0001C2T0001", "0001C5T0002")).tolist()
    [1, 2]
    """
    found = [match and next(filter(None, match.groups())) for match in map(_CAMERA.search, names)]
    if not names or not all(found):
        return None
    return np.asarray(np.unique([str(text).lower() for text in found], return_inverse=True)[1] + 1, np.int64)


def _cameras(case: _Case) -> Iterator[Finding]:
    e = case.embeddings
    told = cameras_in_names(e.names)
    wrong = _contradicted(e.camids, told) if told is not None else np.zeros(0, np.int64)
    of_query, of_gallery = np.unique(e.camids[e.is_query]), np.unique(e.camids[~e.is_query])
    # Query camera 1 and gallery camera 2 are usual too (iLIDS-VID): the names must say that it is none of these.
    sides = len(wrong) and len(of_query) == len(of_gallery) == 1 and of_query[0] != of_gallery[0]
    crossed = _crossed(e)
    if sides or len(np.unique(e.camids)) > max(10, len(e) / 2):
        how = (
            "queries have one camid and the gallery another"
            if sides
            else "most rows have a camid of their own"
        )
        fault, what = (
            "same-camera-left-in",
            f"{how}: matches of the query's own camera count as right answers",
        )
    elif crossed is not None:
        fault, what = (
            "camids-of-frames",
            f"{crossed:.0%} of the changes from one person to the next keep the camera, as where a tracklet's camid is "
            "repeated for its frames or clips and the list is read tracklet by tracklet",
        )
    elif len(wrong):
        fault, what = "camids-against-names", "camids are not the cameras of the names"
    else:
        return
    if len(wrong):
        what += f"; {len(wrong):,} of {len(e):,} rows contradict their name"
    mended = replace(e, camids=told) if told is not None and len(wrong) else None
    yield case.finding(fault, wrong if len(wrong) else range(len(e)), what, mended)


def _contradicted(camids: _Rows, told: _Rows) -> _Rows:
    """Rows whose camid is not the one that most rows of the camera in their name have, whatever the numbering."""
    taken: set[int] = set()
    fits = np.zeros(len(camids), dtype=np.bool_)
    for camera in np.argsort(-np.bincount(told), kind="stable").tolist():
        rows = told == camera
        ids, counts = np.unique(camids[rows], return_counts=True)
        for camid in ids[np.argsort(-counts, kind="stable")].tolist():
            if camid not in taken:  # two cameras cannot share a camid
                taken.add(camid)
                fits |= rows & (camids == camid)
                break
    return np.flatnonzero(~fits)


def _crossed(e: Embeddings) -> float | None:
    """Share of the changes of pid that keep the camid, where it is far more than chance; else None.

    Looked at where rows go person by person, and cameras come back: then a person begins anew with any camera.
    """
    for side in (e.is_query, ~e.is_query):
        rows = np.flatnonzero(side & (e.pids > 0))
        pids, camids = e.pids[rows], e.camids[rows]
        change = np.flatnonzero(np.diff(pids))
        people, cameras = len(np.unique(pids)), len(np.unique(camids))
        runs = np.count_nonzero(np.diff(camids)) + 1
        if len(change) < 10 or len(change) + 1 != people or len(rows) < 2 * people or runs <= cameras:
            continue
        last, first = camids[change], camids[change + 1]
        chance = sum(float((last == c).mean() * (first == c).mean()) for c in np.unique(last))
        share = float((last == first).mean())
        if share >= max(0.7, chance + 4 * (chance * (1 - chance) / len(change)) ** 0.5):
            return share
    return None


# -- tracklets that stand there more than once -----------------------------------------------------------------


def _repeated(case: _Case) -> Iterator[Finding]:
    e = case.embeddings
    if len(e) > 1 and float(np.ptp(e.features, axis=0).max()) <= _CONSTANT * largest(e.features):
        what = "all rows have the same features, but for rounding: the order of the rows is ranked, or noise"
        yield case.finding("constant-features", range(len(e)), what)
        return
    groups: dict[int, list[int]] = {}
    for row, first in repeated_rows(e.features):
        groups.setdefault(first, [first]).append(row)
    found: dict[str, list[int]] = {fault: [] for fault in _REPEATED}
    for group in groups.values():
        rows = np.array(group)
        if len(np.unique(e.pids[rows])) > 1:
            found["one-vector-for-several"] += group
            continue
        query, gallery = rows[e.is_query[rows]], rows[~e.is_query[rows]]
        for g in gallery if len(query) else gallery[:0]:
            other = bool((e.camids[query] != e.camids[g]).any())
            found["query-finds-itself" if other else "queries-in-gallery"].append(g)
        found["rows-twice"] += [*query[1:], *(gallery[1:] if not len(query) else ())]
    for fault, repeated in found.items():
        if repeated:
            what = f"{len(repeated):,} of {len(e):,} rows {_REPEATED[fault]}"
            yield case.finding(fault, sorted(repeated), what, case.without(repeated))


def _near(case: _Case) -> Iterator[Finding]:
    e = case.embeddings
    query, gallery = np.flatnonzero(e.is_query & (e.pids > 0)), np.flatnonzero(~e.is_query)
    order = gallery[np.argsort(e.pids[gallery], kind="stable")]
    begin, end = (np.searchsorted(e.pids[order], e.pids[query], side=side) for side in ("left", "right"))
    rows = np.repeat(query, end - begin)
    columns = np.concatenate([order[:0], *(order[a:b] for a, b in zip(begin, end, strict=True))])
    across = e.camids[rows] != e.camids[columns]
    rows, columns = rows[across], columns[across]
    if case.before is None or not len(rows):
        return
    found = paired_distances(e.features, e.features, rows=rows, columns=columns, distance=case.distance)
    doubled = np.unique(columns[(found > 0) & (found <= NEAR * np.median(found))])
    if len(doubled):
        yield case.finding(
            "near-duplicates",
            doubled,
            f"{len(doubled):,} gallery rows lie within {NEAR:.0%} of the median distance of one person across cameras "
            "from a query of their person in another camera: the same frames, under another camid",
            case.without(doubled),
        )


# -- people: junk, nobody, and those who were trained on -------------------------------------------------------


def _junk(case: _Case) -> Iterator[Finding]:
    e = case.embeddings
    by_name = np.array([name.startswith("00-1") for name in e.names] or [False] * len(e), dtype=np.bool_)
    junk = (by_name & (e.pids != JUNK_PID)) | np.isin(e.pids, _WRAPPED)
    if junk.any():
        what = f"{int(junk.sum()):,} rows are junk by name (00-1) or by a pid that is -1 unsigned, and count as people"
        mended = replace(e, pids=np.where(junk, JUNK_PID, e.pids))
        yield case.finding("junk-counted", np.flatnonzero(junk), what, mended)
    nobody = np.flatnonzero(e.is_query & (e.pids <= 0))
    _, sizes = np.unique(e.pids[e.pids > 0], return_counts=True)
    if not len(nobody) or case.before is None:
        return
    if e.pids.min() == 0 and (e.pids == 0).sum() <= 3 * np.median(sizes):
        what = "pid 0, which stands for distractors, is searched for and has no more rows than a person"
        yield case.finding("pids-from-zero", np.flatnonzero(e.pids == 0), what, replace(e, pids=e.pids + 1))
        return
    (counted,) = count(e, [Counting(protocol=case.protocol, distance=case.distance, nobody=True)])
    what = (
        f"{len(nobody):,} queries are junk, distractors or unknown; an evaluator that counts them takes their like for "
        "right answers (the first scores)"
    )
    yield case.finding("queries-of-nobody", nobody, what, before=counted.scores, after=case.before)


def _trained_on(case: _Case) -> Iterator[Finding]:
    e, train = case.embeddings, case.train
    if train is None:
        return
    seen = {row.tobytes() for row in train.features}
    same = np.array([row.tobytes() in seen for row in e.features], dtype=np.bool_)
    people = np.union1d(np.intersect1d(e.pids[e.is_query], train.pids), e.pids[same])
    rows = np.flatnonzero(np.isin(e.pids, people[people > 0]))
    if len(rows):
        what = (
            f"{len(np.unique(e.pids[rows])):,} people of the test were trained on: their pid, or features equal to the "
            "bit, are in the training embeddings"
        )
        yield case.finding("train-people", rows, what, case.without(rows))


# -- ties ------------------------------------------------------------------------------------------------------


def _ties(case: _Case) -> Iterator[Finding]:
    if case.before is None:
        return
    way = Counting(protocol=case.protocol, distance=case.distance)
    against, order, best = count(case.embeddings, [replace(way, ties=ties) for ties in get_args(Ties)])
    depends = (against.first_hits == 1) != (best.first_hits == 1)
    if depends.any():
        by_order = ", ".join(f"{key} {100 * value:.1f}" for key, value in order.scores.items())
        what = (
            f"rank-1 of {int(depends.sum()):,} of {len(depends):,} queries depends on the order of equal distances: "
            f"the best order gives the first scores, the worst the second, this gallery's {by_order}"
        )
        rows = against.rows[depends]
        yield case.finding("ties-by-order", rows, what, before=best.scores, after=against.scores)


CHECKS: tuple[Callable[[_Case], Iterator[Finding]], ...] = (
    _cameras,
    _repeated,
    _near,
    _junk,
    _trained_on,
    _ties,
)
