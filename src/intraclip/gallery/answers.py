"""Files of what people said about pairs of tracklets: ``judgements.csv`` of `intraclip gallery export-labels`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from intraclip.core.tables import read_table, write_csv
from intraclip.errors import DataError
from intraclip.gallery.records import Judgement

COLUMNS = ("query", "tracklet", "judgement", "by", "at")
"""Of such a file."""

SAME, DIFFERENT, UNSURE = "same", "different", "unsure"
"""Answers, as files hold them."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A person's word on two tracklets, as files hold it.

    Attributes:
        answer: ``same``, ``different`` or ``unsure``.
        by: who said so; may be empty.
        at: Unix seconds.
        where: file and line that it was read from; empty if it was not.

    Raises:
        DataError: it is none of the three, or not about two tracklets.
    """

    query: str
    tracklet: str
    answer: str
    by: str = ""
    at: float = 0.0
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        where = self.where or "an answer"
        if self.answer not in (SAME, DIFFERENT, UNSURE):
            raise DataError(f"{where}: the judgement is {self.answer!r}; same, different or unsure is needed")
        if not self.query or not self.tracklet or self.query == self.tracklet:
            raise DataError(
                f"{where}: {self.query!r} and {self.tracklet!r}; an answer is about two tracklets"
            )


def judgements_of(answers: Iterable[Answer]) -> list[Judgement]:
    """What answers say; of several about the same two tracklets the last one counts, and "unsure" says nothing."""
    latest = {frozenset((a.query, a.tracklet)): a for a in answers}
    return [
        Judgement(query=a.query, tracklet=a.tracklet, same=a.answer == SAME, by=a.by, at=a.at)
        for a in latest.values()
        if a.answer != UNSURE
    ]


def write_answers(file: Path, answers: Iterable[Answer]) -> None:
    """Write a file of answers, whole."""
    write_csv(file, COLUMNS, ((a.query, a.tracklet, a.answer, a.by, f"{a.at:.3f}") for a in answers))


def read_answers(file: Path) -> list[Answer]:
    """Read a file of answers; of its columns ``by`` and ``at`` may be missing.

    Raises:
        DataError: it cannot be read, a column is missing, or an answer is none; with the line.
    """
    what = f"a file of answers has {', '.join(COLUMNS[:3])}, as judgements.csv of `intraclip gallery export-labels`"
    found = []
    for line, row in read_table(file, COLUMNS[:3], what=what):
        where = f"{file}, line {line}"
        found.append(
            Answer(
                query=row["query"],
                tracklet=row["tracklet"],
                answer=row["judgement"],
                by=row.get("by", ""),
                at=_seconds(row.get("at", ""), where),
                where=where,
            )
        )
    return found


def require_known(answers: Iterable[Answer], names: Iterable[str], *, of: str) -> None:
    """Refuse answers about tracklets that are not there; `of` says what these are, such as "of the folder site".

    Raises:
        DataError: so it is; the first is named, with its line.
    """
    known = set(names)
    missing = [(a.where, name) for a in answers for name in (a.query, a.tracklet) if name not in known]
    if missing:
        where, name = missing[0]
        more = f", nor for {len(missing) - 1} others" if len(missing) > 1 else ""
        raise DataError(
            f"{where or 'the answers'}: there is no tracklet {name!r} among the {len(known)} {of}{more}; take "
            "such lines out"
        )


def _seconds(text: str, where: str) -> float:
    try:
        at = float(text or 0)
    except ValueError:
        at = math.nan
    if not math.isfinite(at):
        raise DataError(f"{where}: at is {text!r}; Unix seconds are needed, or nothing")
    return at
