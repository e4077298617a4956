"""Papers: small JSON texts of a gallery that speak of its tracklets, such as a watch-list and its alerts.

They lie among the gallery's documents under ``kind/key``. What is deleted does not live on in them: a paper forgets
tracklets that are removed, in the same transaction, and goes with the last one, or with the first where it needs all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

TRACKLETS = "tracklets"
"""Key of a paper: ids of the tracklets that it speaks of."""

EACH = "each"
"""Key of a paper that may be left out: what it says of each tracklet, in the same order; forgotten with it."""

NEEDS_ALL = "needs_all"
"""Key of a paper: whether it is void without any one of them."""


def tracklets_of(text: str) -> list[str]:
    """Ids of the tracklets that a paper speaks of."""
    return list(json.loads(text).get(TRACKLETS, []))


def is_paper(name: str) -> bool:
    """Whether a document of this name is a paper."""
    return "/" in name


def without(text: str, gone: Collection[str]) -> str | None:
    """A paper without tracklets that are removed: the same text where it does not speak of them, None if it is void.

    >>> without('{"tracklets": ["a", "b"]}', {"b"}), without('{"tracklets": ["a"]}', {"a"})
    ('{"tracklets": ["a"]}', None)
    >>> without('{"tracklets": ["a", "b"], "each": [7, 8]}', {"a"})
    '{"tracklets": ["b"], "each": [8]}'
    """
    paper: dict[str, Any] = json.loads(text)
    named = paper.get(TRACKLETS, [])
    places = [i for i, tracklet in enumerate(named) if tracklet not in gone]
    if len(places) == len(named):
        return text
    if not places or paper.get(NEEDS_ALL):
        return None
    lists = {key: [paper[key][i] for i in places] for key in (TRACKLETS, EACH) if key in paper}
    return json.dumps({**paper, **lists})


def paper(content: Mapping[str, Any], tracklets: Collection[str], *, needs_all: bool) -> str:
    """The text of a paper."""
    return json.dumps({**content, TRACKLETS: list(tracklets), NEEDS_ALL: needs_all})
