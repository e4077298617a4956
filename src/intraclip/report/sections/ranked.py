"""Ranked lists: what each run answers to a few queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intraclip.errors import DataError
from intraclip.metrics.protocols import PROTOCOLS
from intraclip.metrics.ranked_lists import ranked_list
from intraclip.metrics.ranking import score
from intraclip.metrics.scores import Outcomes
from intraclip.report.html import Shown
from intraclip.report.records import RunRecord
from intraclip.report.sections.tiles import describe, tracklet_tile
from intraclip.types import Split, Tracklet

QUERIES = 6
ANSWERS = 6
QUERY_FRAMES = 4
ANSWER_FRAMES = 2


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Queries to show.

    Attributes:
        rows: rows in the embeddings; successes first, then disagreements, then failures.
        by_all: queries whose first answer is right in every run.
        by_some: in some runs, but not in all.
        by_none: in no run.
    """

    rows: tuple[int, ...]
    by_all: int
    by_some: int
    by_none: int


def choose_queries(runs: Sequence[Outcomes], *, count: int, seed: int) -> Choice:
    """Draw queries so that failures are seen as well as successes.

    The counted queries fall into three groups: first answer right in no run, in some, in all. The three are drawn
    from in turn, each at random, until there are enough; an empty group leaves its turn to the others.
    """
    right = np.stack([run.first_hits == 1 for run in runs])
    hits = right.sum(axis=0)
    rng = np.random.default_rng([seed, 11])
    groups = [np.flatnonzero(hits == 0), np.flatnonzero((hits > 0) & (hits < len(runs)))]
    groups.append(np.flatnonzero(hits == len(runs)))
    shuffled = [rng.permutation(group).tolist() for group in groups]
    chosen: list[list[int]] = [[], [], []]
    while sum(map(len, chosen)) < count and any(shuffled):
        for group, taken in zip(shuffled, chosen, strict=True):
            if group and sum(map(len, chosen)) < count:
                taken.append(group.pop())
    return Choice(
        rows=tuple(int(runs[0].rows[i]) for taken in reversed(chosen) for i in sorted(taken)),
        by_all=len(groups[2]),
        by_some=len(groups[1]),
        by_none=len(groups[0]),
    )


def judge(runs: Sequence[RunRecord], *, protocol: str) -> list[Outcomes] | None:
    """Outcomes of each run, or None when the runs were not scored on the same tracklets under `protocol`."""
    if any(protocol not in run.scores for run in runs) or protocol not in PROTOCOLS:
        return None
    first = runs[0].embeddings
    for run in runs[1:]:
        other = run.embeddings
        same = len(first) == len(other) and all(
            np.array_equal(getattr(first, key), getattr(other, key)) for key in ("pids", "camids", "is_query")
        )
        if not same or first.names != other.names:
            return None
    return [
        score(run.embeddings, PROTOCOLS[protocol], distance=run.scores[protocol]["distance"]).outcomes
        for run in runs
    ]


def ranked_lists(
    runs: Sequence[RunRecord], judged: Sequence[Outcomes] | None, split: Split, *, protocol: str, seed: int
) -> Shown:
    """Choose queries and show their best answers.

    Raises:
        DataError: the runs have no queries in common, or the embeddings do not belong to `split`.
    """
    if judged is None:
        raise DataError("the runs were scored on different tracklets or protocols, so they share no queries")
    by_name = {tracklet.name: tracklet for tracklet in split.test}
    names = runs[0].embeddings.names
    unknown = [name for name in names if name not in by_name]
    if not names or unknown:
        which = f", such as {unknown[0]}" if unknown else ""
        raise DataError(f"the scored tracklets are not in the data{which}; score the runs on this data again")
    choice = choose_queries(judged, count=QUERIES, seed=seed)
    cases = []
    for row in choice.rows:
        tracklet = by_name[names[row]]
        lists = []
        for run, own in zip(runs, judged, strict=True):
            place = np.flatnonzero(own.rows == row)[0]
            first, precision = own.first_hits[place], own.average_precisions[place]
            distance = run.scores[protocol]["distance"]
            found = ranked_list(run.embeddings, PROTOCOLS[protocol], row, k=ANSWERS, distance=distance)
            # As many decimals as three digits of the largest distance want, the same in the whole list.
            digits = max(0, 2 - int(np.floor(np.log10(max(float(found.distances.max()), 0.01)))))
            answers = []
            for number, answer in enumerate(found.rows.tolist()):
                other, correct = by_name[names[answer]], bool(found.correct[number])
                answers.append(
                    tracklet_tile(
                        other,
                        ANSWER_FRAMES,
                        alt=f"Answer {number + 1}: {'right' if correct else 'wrong'}, {describe(other)}.",
                        correct=correct,
                        caption=(_kept_together(other), f"distance {found.distances[number]:.{digits}f}"),
                    )
                )
            verdict = f"first right answer at rank {first}, average precision {precision:.2f}"
            lists.append({"run": run.name, "verdict": verdict, "answers": answers})
        cases.append(
            {
                "name": tracklet.name,
                "about": f"{describe(tracklet)}, {len(tracklet)} frames",
                "query": tracklet_tile(tracklet, QUERY_FRAMES, alt=f"Frames of the query {tracklet.name}."),
                "lists": lists,
            }
        )
    return {
        "choice": choice,
        "queries": len(judged[0].rows),
        "several_runs": len(runs) > 1,
        "cases": cases,
    }


def _kept_together(tracklet: Tracklet) -> str:
    """`describe` without a break inside "camera 3": captions are as narrow as two frames."""
    return ", ".join(part.replace(" ", "\u00a0") for part in describe(tracklet).split(", "))
