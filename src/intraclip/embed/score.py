"""Score an embeddings file of any system, and say everything about it that moves the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.data.readers.common import shorten
from intraclip.embed.embeddings_io import EmbeddingsFile
from intraclip.errors import ConfigError, DataError
from intraclip.metrics.audit import repeated_rows
from intraclip.metrics.calibration import PairDistances, pair_distances
from intraclip.metrics.distance import Distance
from intraclip.metrics.embeddings import Embeddings, take
from intraclip.metrics.given_distances import score_distances
from intraclip.metrics.match_fit import fit_calibration
from intraclip.metrics.match_probability import MatchCalibration
from intraclip.metrics.paired import paired
from intraclip.metrics.protocols import PROTOCOLS, Protocol, protocol_named
from intraclip.metrics.ranking import score, searched
from intraclip.metrics.rerank import RERANKED
from intraclip.metrics.rerank import rerank as rerank_together
from intraclip.metrics.side_by_side import protocols_named, scored_by
from intraclip.metrics.uncertainty import intervals
from intraclip.types import DISTRACTOR_PID, JUNK_PID

DEFAULT_PROTOCOL = "cross-camera"
"""Queries search the gallery across cameras: what most people mean who do not know of protocols."""

_UNMATCHED = {
    "pid_absent_from_gallery": "with a pid that is absent from the gallery",
    "pid_in_own_camera_only": "with a pid that the gallery has in the query's own camera alone",
}
"""Why a query has no right answer."""

_NOBODY = {
    "junk": ("of pid -1 (junk)", "left out"),
    "distractor": ("of pid 0 (distractors)", "searched, and never a right answer"),
    "unknown": ("of a pid below -1 (unknown)", "searched, and never a right answer"),
}
"""Tracklets of no person, and what becomes of them in the gallery."""


def default_protocol(file: EmbeddingsFile) -> str:
    """The usual protocol of the data set that a file's embeddings are of, as `evaluate` takes it; if the file says so.

    Files of other systems say nothing: `DEFAULT_PROTOCOL`.
    """
    said = file.metadata.get("protocol")
    return said if isinstance(said, str) and said in PROTOCOLS else DEFAULT_PROTOCOL


@dataclass(frozen=True, kw_only=True)
class FileScores:
    """What one file scores.

    Attributes:
        results: by protocol name, JSON values: what `Scores.to_json_dict` gives, and ``queries_ignored``,
            ``without_match``, ``intervals``, ``same_as``, ``notes``; ``against`` where a file was compared,
            ``reranked`` where that was asked for.
        not_scored: reason by protocol name; only where several protocols were asked for.
        notes: what has to be said about the file, whatever the protocol.
    """

    results: Mapping[str, Mapping[str, Any]]
    not_scored: Mapping[str, str]
    notes: tuple[str, ...]


def score_file(
    file: EmbeddingsFile,
    *,
    protocol: str | None = None,
    distance: Distance = "euclidean",
    against: EmbeddingsFile | None = None,
    rerank: bool = False,
    seed: int = 0,
    device: str | None = None,
) -> FileScores:
    """Score a file under one protocol or all of them.

    Query tracklets of no person (junk, distractors, unknown) are not searched for: two of them are not the same
    person, though they have the same pid.

    Args:
        file: checked embeddings.
        protocol: by name, or ``all`` across cameras; None for `default_protocol`.
        distance: ``euclidean`` or ``cosine``.
        against: another system's embeddings of the same tracklets, for a paired comparison.
        rerank: score k-reciprocal re-ranked distances too; they stand apart from the plain ones.
        seed: of the resampling behind intervals and comparison.
        device: count rankings with torch on this device; None counts with numpy. The scores are the same.

    Raises:
        ConfigError: unknown protocol.
        DataError: no queries, nothing to find, or `against` holds other tracklets.
    """
    chosen = protocols_named(protocol or default_protocol(file))
    if rerank and chosen[0].own_camera:
        raise ConfigError(
            f"{chosen[0].name} is scored without re-ranking, which is for searches across cameras"
        )
    embeddings = file.embeddings
    if not embeddings.is_query.any():
        raise DataError(
            f"{file.path} has no queries: is_query is false in all {len(embeddings):,} rows; mark the tracklets that "
            "are searched for"
        )
    ignored = _nobody(embeddings.pids[embeddings.is_query])
    if sum(ignored.values()) == embeddings.is_query.sum():
        found = ", ".join(f"{count:,} {name}" for name, count in ignored.items())
        raise DataError(
            f"{file.path}: none of the {int(embeddings.is_query.sum()):,} queries is a person with a pid above 0 "
            f"({found}); scoring needs identity labels"
        )
    other = aligned(against, file) if against is not None else None

    def scored(rules: Protocol) -> dict[str, Any]:
        own = _score(embeddings, other, rules, distance=distance, rerank=rerank, seed=seed, device=device)
        return {**own, "queries_ignored": ignored}

    try:
        results, not_scored = scored_by(chosen, scored)
    except DataError as error:
        raise DataError(f"{file.path}: {error}") from None
    if not results:
        raise DataError(f"{file.path} cannot be scored under any protocol: {next(iter(not_scored.values()))}")
    return FileScores(
        results=results,
        not_scored=not_scored,
        notes=(*file.notes, *_remarks(embeddings, ignored)),
    )


def calibrate_file(
    file: EmbeddingsFile, *, protocol: str | None = None, distance: Distance = "euclidean"
) -> tuple[MatchCalibration, PairDistances]:
    """What the distances of a file mean, and the pairs that say so.

    Raises:
        ConfigError: unknown protocol, or ``all``.
        DataError: no pairs of one person in two cameras, or none of two people.
    """
    if protocol == "all":
        raise ConfigError("a calibration belongs to one protocol; name it with --protocol")
    chosen = protocol_named(protocol or default_protocol(file))
    if chosen.own_camera:
        raise ConfigError(f"{chosen.name} gives no thresholds: they are of pairs across cameras")
    try:
        pairs = pair_distances(file.embeddings, chosen, distance=distance)
        return fit_calibration(pairs, metric=distance, fingerprint=file.fingerprint), pairs
    except DataError as error:
        raise DataError(f"{file.path}: {error}") from None


def aligned(other: EmbeddingsFile, file: EmbeddingsFile) -> Embeddings:
    """The rows of another file in the order of this one.

    Raises:
        DataError: the files hold other tracklets, or other labels for them.
    """
    a, b = file.embeddings, other.embeddings
    if len(a) != len(b):
        raise DataError(
            f"{file.path} has {len(a):,} rows, {other.path} has {len(b):,}; a comparison needs the same tracklets"
        )
    if a.names and b.names and a.names != b.names:
        row = {name: i for i, name in enumerate(b.names)}
        missing = [name for name in a.names if name not in row]
        if missing:
            raise DataError(
                f"{len(missing):,} tracklets of {file.path} are not in {other.path}: {shorten(missing)}; a comparison "
                "needs the same tracklets"
            )
        order = np.array([row[name] for name in a.names])
        b = take(b, order)
    for name, mine, its in (
        ("pids", a.pids, b.pids),
        ("camids", a.camids, b.camids),
        ("is_query", a.is_query, b.is_query),
    ):
        different = np.flatnonzero(mine != its)
        if len(different):
            raise DataError(
                f"{name} of {file.path} and {other.path} differ in {len(different):,} of {len(a):,} rows, first in row "
                f"{different[0]} ({mine[different[0]]} and {its[different[0]]}); a comparison needs the same tracklets "
                "with the same labels, in the same order unless both files have names"
            )
    return b


def _score(
    embeddings: Embeddings,
    other: Embeddings | None,
    protocol: Protocol,
    *,
    distance: Distance,
    rerank: bool,
    seed: int,
    device: str | None,
) -> dict[str, Any]:
    rows = _kept(embeddings, protocol)
    scored = _without_nobody(take(embeddings, rows))
    scores = score(scored, protocol, distance=distance, device=device)
    unmatched = {why: (len(pids), sorted(set(pids))) for why, pids in _unmatched(scored, protocol).items()}
    notes = [
        f"{_queries(count)} not counted, {_UNMATCHED[why]}: pid {shorten(pids)}"
        for why, (count, pids) in unmatched.items()
        if count
    ]
    told = {why: {"queries": count, "pids": pids} for why, (count, pids) in unmatched.items()}
    result = {**scores.to_json_dict(), "without_match": told, "notes": notes}
    pids = scored.pids[scores.outcomes.rows]
    sure = intervals(scores.outcomes, pids, seed=seed)
    result["intervals"] = sure and sure.to_json_dict()
    if sure is None:
        notes.append("no intervals: the counted queries show one person")
    if rerank:
        result["reranked"] = _reranked(scored, protocol, distance=distance)
    if other is not None:
        its = score(_without_nobody(take(other, rows)), protocol, distance=distance, device=device)
        result["against"] = paired(its.outcomes, scores.outcomes, pids, seed=seed).to_json_dict()
    return result


def _reranked(embeddings: Embeddings, protocol: Protocol, *, distance: Distance) -> dict[str, Any]:
    """Scores of re-ranked distances, with the label that must stand beside them."""
    query, gallery = searched(embeddings, protocol)
    scores = score_distances(
        rerank_together(embeddings.features, query, gallery, distance=distance),
        query_pids=embeddings.pids[query],
        query_camids=embeddings.camids[query],
        gallery_pids=embeddings.pids[gallery],
        gallery_camids=embeddings.camids[gallery],
        rule=protocol.average_precision,
        name=f"{protocol.name}, {RERANKED}",
    )
    return {**scores.to_json_dict(), "distance": distance, "label": RERANKED}


def _queries(count: int) -> str:
    return "1 query is" if count == 1 else f"{count:,} queries are"


def _nobody(pids: npt.NDArray[np.int64]) -> dict[str, int]:
    """Number of tracklets of no person, by what they are."""
    return {
        "junk": int((pids == JUNK_PID).sum()),
        "distractor": int((pids == DISTRACTOR_PID).sum()),
        "unknown": int((pids < JUNK_PID).sum()),
    }


def _unmatched(embeddings: Embeddings, protocol: Protocol) -> dict[str, list[int]]:
    """Pids of the queries without a right answer, one entry a query, by the reason."""

    def rows(chosen: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
        pids, camids = embeddings.pids[chosen], embeddings.camids[chosen]
        return list(zip(pids.tolist(), camids.tolist(), strict=True))

    searched = rows((embeddings.pids != JUNK_PID) & (protocol.queries_in_gallery | ~embeddings.is_query))
    queries = rows(embeddings.is_query)
    there, in_camera = Counter(pid for pid, _ in searched), Counter(searched)
    # A query that is searched too must not count as its own answer.
    itself = Counter(pid for pid, _ in queries if protocol.queries_in_gallery)
    absent: list[int] = []
    own_camera: list[int] = []
    for pid, camid in queries:
        if protocol.own_camera:  # every other tracklet of the pid in this camera is right
            if not in_camera[pid, camid]:
                absent.append(pid)
        elif there[pid] == in_camera[pid, camid]:
            (absent if there[pid] <= itself[pid] else own_camera).append(pid)
    return {"pid_absent_from_gallery": absent, "pid_in_own_camera_only": own_camera}


def _kept(embeddings: Embeddings, protocol: Protocol) -> npt.NDArray[np.int64]:
    """Rows that a protocol sees: queries of no person leave, unless queries are searched too."""
    if protocol.queries_in_gallery:
        return np.arange(len(embeddings))
    return np.flatnonzero(~embeddings.is_query | (embeddings.pids > 0))


def _without_nobody(embeddings: Embeddings) -> Embeddings:
    """The same rows; those of no person are no queries."""
    return replace(embeddings, is_query=embeddings.is_query & (embeddings.pids > 0))


def _remarks(embeddings: Embeddings, ignored: Mapping[str, int]) -> list[str]:
    """What is worth saying about the rows."""
    notes = []
    for name, count in ignored.items():
        if count:
            hint = "; where pids count from 0, add 1 to all of them" if name == "distractor" else ""
            notes.append(f"{_queries(count)} {_NOBODY[name][0]}: not searched for and not counted{hint}")
    for name, count in _nobody(embeddings.pids[~embeddings.is_query]).items():
        if count:
            who, fate = _NOBODY[name]
            notes.append(
                f"{count:,} gallery {'tracklet is' if count == 1 else 'tracklets are'} {who}: {fate}"
            )
    repeated = repeated_rows(embeddings.features)
    if repeated:
        row, earlier = repeated[0]
        which = (
            f"{embeddings.names[row]} repeats {embeddings.names[earlier]}"
            if embeddings.names
            else f"row {row} repeats row {earlier}"
        )
        across = sum(embeddings.is_query[i] != embeddings.is_query[j] for i, j in repeated)
        notes.append(
            f"{len(repeated):,} of {len(embeddings):,} rows have exactly the features of an earlier row "
            f"({across:,} of them a query and a gallery tracklet; first: {which}); a tracklet that stands there twice "
            "is scored twice"
        )
    return notes
