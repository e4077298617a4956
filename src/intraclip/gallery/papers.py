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
    """
    paper: dict[str, Any] = json.loads(text)
    named = paper.get(TRACKLETS, [])
    left = [tracklet for tracklet in named if tracklet not in gone]
    if left == named:
        return text
    return None if not left or paper.get(NEEDS_ALL) else json.dumps({**paper, TRACKLETS: left})


def paper(content: Mapping[str, Any], tracklets: Collection[str], *, needs_all: bool) -> str:
    """The text of a paper."""
    return json.dumps({**content, TRACKLETS: list(tracklets), NEEDS_ALL: needs_all})
