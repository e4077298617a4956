"""Scores camera by camera, for protocols of the query's own camera."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from intraclip.errors import DataError
from intraclip.metrics.distance import Distance
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.protocols import Protocol
from intraclip.metrics.ranking import score, searched, summary
from intraclip.metrics.scores import Outcomes, Scores


def score_within(embeddings: Embeddings, protocol: Protocol, *, distance: Distance, **how: Any) -> Scores:
    """Score camera by camera; there, queries and gallery stand for two cameras, so that nothing leaves the ranking."""
    query, gallery = searched(embeddings, protocol)
    across = replace(protocol, own_camera=False)
    outcomes: list[Outcomes] = []
    for camid in np.unique(embeddings.camids[query]):
        rows = np.flatnonzero(embeddings.camids == camid)
        pids, is_query = embeddings.pids[rows], embeddings.is_query[rows]
        right = (pids > 0) & np.isin(pids, pids[is_query]) & ~is_query
        if not right.any():
            continue
        found = score(
            Embeddings(
                features=embeddings.features[rows],
                pids=pids,
                camids=(~is_query).astype(np.int64),
                is_query=is_query,
            ),
            across,
            distance=distance,
            **how,
        ).outcomes
        outcomes.append(replace(found, rows=rows[found.rows]))
    if not outcomes:
        raise DataError(
            f"none of the {len(query)} queries has a right answer in its own camera under protocol {protocol.name}; "
            "check pids and camids"
        )
    joined = Outcomes.joined(outcomes)
    order = np.argsort(joined.rows, kind="stable")
    return summary(
        Outcomes(**{f.name: getattr(joined, f.name)[order] for f in fields(Outcomes)}),
        protocol=protocol.name,
        distance=distance,
        queries=len(query),
        gallery=len(gallery),
    )
