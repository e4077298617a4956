"""Numbers that somebody's evaluator printed, and which way of counting gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from intraclip.metrics.counting import Counting, count, ways_to_count
from intraclip.metrics.embeddings import Embeddings

KEPT = 20
"""Pairs of numbers of one log that are looked at: the last ones, as a log of training ends with what is reported."""

_NAMES = {
    "rank1": r"(?:rank|top|cmc|hit|r)[-_ @]*\(?0?1\)?(?![\d.])",
    "mAP": r"(?:mAP|mean[ _-]?AP|mean average precision)(?![a-z@])",
}
_NAME = "|".join(f"(?P<{key}>{pattern})" for key, pattern in _NAMES.items())
_NUMBER = r"(?P<number>\d+(?:\.(?P<decimals>\d+))?(?:e[-+]?\d+)?)\s*(?P<percent>%?)"
_VALUE = re.compile(
    rf"(?<![a-z0-9])(?:{_NAME})\s*(?:accuracy|acc\.?|score)?[\"']?\s*[:=|│]?[\s\"'(\[]*{_NUMBER}",
    re.IGNORECASE,
)
_CELL = re.compile(_NUMBER, re.IGNORECASE)
_HEAD = re.compile(_NAME, re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Printed:
    """Rank-1, mAP or both, as they stand together in a log.

    Attributes:
        line: of the log, from 1, where the last of them stands.
        scores: 0..1, by ``rank1`` and ``mAP``.
        within: half a unit of the last digit that was printed, by the same.
    """

    line: int
    scores: Mapping[str, float]
    within: Mapping[str, float]

    def is_given_by(self, scores: Mapping[str, float]) -> bool:
        """Whether these scores would be printed so."""
        return all(abs(scores[key] - self.scores[key]) <= self.within[key] + 1e-9 for key in self.scores)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Where printed numbers come from.

    Attributes:
        ways: those that give them with the fewest departures from a protocol; empty where none does.
        nearest: the way whose scores are nearest.
        nearest_scores: rank-1 and mAP that it gives.
    """

    printed: Printed
    ways: tuple[Counting, ...]
    nearest: Counting
    nearest_scores: Mapping[str, float]

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "line": self.printed.line,
            "printed": dict(self.printed.scores),
            "given_by": [_plain(way) for way in self.ways],
            "nearest": {**_plain(self.nearest), **self.nearest_scores},
        }


def printed_scores(text: str) -> list[Printed]:
    """Pairs of rank-1 and mAP in a log, JSON or text or table, in their order; equal ones once, the last 20.

    Numbers above 1, and those with a percent sign, are read as percent.

    >>> [found.scores for found in printed_scores("mAP: 76.2%  Rank-1 : 87.1%  Rank-10 : 95.0%")]
    [{'mAP': 0.762, 'rank1': 0.871}]
    """
    found: dict[tuple[tuple[str, float], ...], Printed] = {}
    scores: dict[str, float] = {}
    within: dict[str, float] = {}
    last = 0

    def keep() -> None:
        if scores:
            key = tuple(sorted(scores.items()))
            found.pop(key, None)
            found[key] = Printed(line=last, scores=dict(scores), within=dict(within))
            scores.clear()

    for line, key, value in _values(text):
        if key in scores:
            keep()
        percent = bool(value["percent"]) or float(value["number"]) > 1
        scores[key] = float(value["number"]) / (100 if percent else 1)
        decimals = len(value["decimals"] or "") + 2 * percent
        within[key] = 0.5 * 10.0 ** -max(decimals, 2)
        last = line
    keep()
    return list(found.values())[-KEPT:]


def _values(text: str) -> Iterator[tuple[int, str, re.Match[str]]]:
    """Line, score and number of everything that is printed; tables have names in one line and numbers below."""
    columns: dict[int, str] = {}
    width = 0
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip() for cell in re.split(r"[|│┃]", line)]
        heads = {i: match for i, cell in enumerate(cells) if (match := _HEAD.fullmatch(cell))}
        values = list(_VALUE.finditer(line))
        if len(heads) > 1 and not values:
            columns = {i: next(k for k in _NAMES if match[k]) for i, match in heads.items()}
            width = len(cells)
        elif values:
            for match in values:
                yield number, next(k for k in _NAMES if match[k]), match
        elif columns and len(cells) == width:
            for i, key in columns.items():
                if cell := _CELL.fullmatch(cells[i]):
                    yield number, key, cell


def trace(embeddings: Embeddings, printed: list[Printed], *, ties: bool) -> list[Trace]:
    """Find the ways of counting that give printed numbers; re-ranked ones only where no other does."""
    if not printed:
        return []
    ways = ways_to_count(embeddings, ties=ties)
    scored = [(way, found.scores) for way, found in zip(ways, count(embeddings, ways), strict=True)]
    if not all(any(one.is_given_by(scores) for _, scores in scored) for one in printed):
        again = [replace(way, reranked=True) for way in ways if not way.departures()]
        scored += [(way, found.scores) for way, found in zip(again, count(embeddings, again), strict=True)]
    traces = []
    for one in printed:
        given = [way for way, scores in scored if one.is_given_by(scores)]
        fewest = min((len(way.departures()) for way in given), default=0)
        nearest, scores = min(scored, key=lambda s: max(abs(s[1][k] - v) for k, v in one.scores.items()))
        traces.append(
            Trace(
                printed=one,
                ways=tuple(way for way in given if len(way.departures()) == fewest),
                nearest=nearest,
                nearest_scores=scores,
            )
        )
    return traces


def _plain(way: Counting) -> dict[str, Any]:
    return {"protocol": way.protocol.name, "distance": way.distance, "departures": way.departures()}
