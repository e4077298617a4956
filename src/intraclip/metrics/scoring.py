"""Scores with intervals, of embeddings or of plain arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from intraclip.metrics import ranking
from intraclip.metrics.distance import Distance
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.protocols import Protocol, protocol_named
from intraclip.metrics.scores import Scores
from intraclip.metrics.uncertainty import intervals


def score(
    features: Embeddings | Any,
    pids: Any = None,
    camids: Any = None,
    is_query: Any = None,
    *,
    protocol: str | Protocol = "cross-camera",
    distance: Distance = "euclidean",
) -> Scores:
    """CMC, mAP and mINP of embeddings, with 95 % intervals over people.

    Args:
        features: `Embeddings`; or float ``[N, D]`` as array, tensor or lists, and then:
        pids: ``[N]`` whole numbers; -1 is junk, 0 a distractor.
        camids: ``[N]`` whole numbers.
        is_query: ``[N]``, true for queries, false for the gallery.
        protocol: what is searched and what counts, by name: ``cross-camera``, ``mars-full``, ... (docs/protocols.md).
        distance: ``euclidean`` or ``cosine``.

    Returns:
        Shares of 0..1; `intervals` is None where fewer than two people are searched for.

    Raises:
        ConfigError: no such protocol.
        DataError: arrays that do not belong together, no query, an empty gallery, or no right answer at all.

    >>> features = [[0, 0], [5, 5], [0, 1], [5, 4], [9, 9]]
    >>> found = score(features, pids=[1, 2, 1, 2, 3], camids=[1, 1, 2, 2, 2], is_query=[1, 1, 0, 0, 0])
    >>> found.rank(1), found.mAP
    (1.0, 1.0)
    >>> found
    Scores(cross-camera, euclidean: rank-1 1.000 (0.158 to 1.000), mAP 1.000 (0.158 to 1.000), ...; 2 queries)
    """
    if isinstance(features, Embeddings):
        if not (pids is None and camids is None and is_query is None):
            raise TypeError("embeddings hold pids, camids and is_query already; give them alone")
        embeddings = features
    else:
        if pids is None or camids is None or is_query is None:
            raise TypeError("features alone cannot be scored: give pids, camids and is_query too")
        embeddings = Embeddings(features=features, pids=pids, camids=camids, is_query=is_query)
    rules = protocol if isinstance(protocol, Protocol) else protocol_named(protocol)
    found = ranking.score(embeddings, rules, distance=distance)
    return replace(found, intervals=intervals(found.outcomes, embeddings.pids[found.outcomes.rows]))
