"""mAP by what disturbs the query: the renderer's ground truth says which tracklets are occluded, lit or blurred.

The paper gives Synchronous Data Augmentation a point: noise, such as occlusion that passes, light that changes, and
blur. If that is so, what it adds is larger for queries with such noise than for queries without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.tables import read_table
from intraclip.errors import DataError
from intraclip.lab.reproduce.statistics import FEWEST_PEOPLE, Trainings, gains, plain, sample, student
from intraclip.metrics.scores import Outcomes, Scores
from intraclip.types import Split

NUISANCES: Mapping[str, str] = {
    "occlusion": "occluder",
    "changing light": "lighting change",
    "motion blur": "motion blur",
}
"""What a group of queries is called -> how the renderer's names of it begin."""

CLEAN = "none of them"
"""The group of queries that none of `NUISANCES` disturbs."""

FEWEST_QUERIES = 20
"""Smaller groups are left out: their mAP says nothing."""


def groups_of(split: Split) -> dict[str, frozenset[str]]:
    """Queries by what disturbs them; one with several nuisances is in several groups.

    Returns:
        Group -> names of query tracklets; empty where the data tell no nuisances.
    """
    path = split.root / "ground_truth" / "tracklets.csv"
    rows = [row for _, row in read_table(path)] if path.is_file() else []
    if not rows or "nuisances" not in rows[0]:
        return {}
    told = {row["name"]: row["nuisances"].split("; ") for row in rows}
    missing = [tracklet.name for tracklet in split.query if tracklet.name not in told]
    if missing:
        raise DataError(f"{split.root}: the ground truth has no row for the query {missing[0]}")
    found = {
        group: frozenset(t.name for t in split.query if any(one.startswith(start) for one in told[t.name]))
        for group, start in NUISANCES.items()
    }
    disturbed = frozenset[str]().union(*found.values())
    return {CLEAN: frozenset(t.name for t in split.query) - disturbed, **found}


def by_nuisance(
    split: Split,
    scores: Mapping[str, Trainings],
    pids: Mapping[int, npt.NDArray[np.int64]],
    claims: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The mAP of every row and the gain of every claim, by group of queries of the one split that all are tested on.

    `pids` holds, for that split, who was searched for: int64 ``[queries counted]``.

    Returns:
        Plain values: ``groups`` (group -> queries and people), ``rows`` (row -> group -> mAP), ``claims``, one a claim:
        ``groups`` (group -> gain) and ``more`` (group -> by how much the gain exceeds that of undisturbed queries,
        over trainings). Empty where the data tell no nuisances.
    """
    groups = groups_of(split)
    if not groups:
        return {}
    first = next(iter(next(iter(scores.values())).values())).outcomes.rows
    names = [split.test[row].name for row in first]
    of = pids[split.index]
    chosen = {group: np.array([name in members for name in names]) for group, members in groups.items()}
    chosen = {group: mask for group, mask in chosen.items() if mask.sum() >= FEWEST_QUERIES}
    parts = {
        group: {row: {key: _only(s, mask) for key, s in of_row.items()} for row, of_row in scores.items()}
        for group, mask in chosen.items()
    }
    told: list[dict[str, Any]] = []
    for claim in claims:
        entry: dict[str, Any] = {"text": claim["text"], "groups": {}, "more": {}}
        clean: dict[tuple[int, int], float] = {}  # it is the first group
        for group, part in parts.items():
            better, worse = part[claim["better"]], part[claim["worse"]]
            by_training = {key: better[key].mAP - worse[key].mAP for key in better if key in worse}
            if group == CLEAN:
                clean = by_training
            elif clean:
                more = [value - clean[key] for key, value in by_training.items()]
                entry["more"][group] = plain(student(more))
            for gain in gains(better, worse, {split.index: of[chosen[group]]}, ("mAP",)).values():
                entry["groups"][group] = gain.to_json_dict()
        told.append(entry)
    return {
        "groups": {
            group: {"queries": int(mask.sum()), "people": len(np.unique(of[mask]))}
            for group, mask in chosen.items()
        },
        "fewest_people": FEWEST_PEOPLE,
        "rows": {
            row: {group: plain(sample(part[row], "mAP")) for group, part in parts.items()} for row in scores
        },
        "claims": told,
    }


def _only(scores: Scores, mask: npt.NDArray[np.bool_]) -> Scores:
    """The scores of some queries."""
    outcomes = Outcomes(
        **{name: getattr(scores.outcomes, name)[mask] for name in Outcomes.__dataclass_fields__}
    )
    return replace(scores, outcomes=outcomes, mAP=float(outcomes.average_precisions.mean()))
