"""What people said about tracklets: who is one person, who are two, who is called what; in a gallery, or in files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from intraclip.core.settings import shown
from intraclip.core.tables import read_table
from intraclip.data.readers.manifest import number_in
from intraclip.errors import DataError
from intraclip.gallery.answers import Answer, judgements_of, read_answers, require_known
from intraclip.gallery.labels import contradictions_note, label_numbers, people_of
from intraclip.gallery.records import Judgement, check_name
from intraclip.link.agglomeration import Indices
from intraclip.link.output import no_formula, without_apostrophe

NAME, PID = "name", "pid"
"""Columns of labels: ``people.csv`` has names; ``tracklets.csv`` of `link` and of `gallery export-labels` pids."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """Judgements and labels, by rows of tracklets.

    Tracklets are one person when they carry the same label or were confirmed, also by way of others; two labels, or a
    rejected pair, are two. Where that contradicts itself, what was called different stays apart, and nothing is joined
    by what was said about the group: to join two people is the worse mistake. A human's word goes before times.

    Attributes:
        together: rows that are one person.
        different: pairs of rows that are two people, int64 ``[P, 2]``; None if there are none.
        named: number of the label of each row, 0 without one or where labels contradict what was said, int64 ``[N]``;
            None without labels.
        labels: row -> label.
    """

    together: tuple[Indices, ...] = ()
    different: Indices | None = None
    named: Indices | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def label_of(self, rows: Sequence[int]) -> str:
        """The label that most of a person's tracklets carry, of equal ones the first; empty without one."""
        found = Counter(self.labels[row] for row in rows if row in self.labels)
        return min(found, key=lambda label: (-found[label], label), default="")


def said_of(
    labels: Mapping[str, str], judgements: Iterable[Judgement], *, where: str = "the gallery"
) -> Said:
    """What was said about tracklets; `labels` has all of them in the order of rows, other judgements are left out."""
    row = {name: i for i, name in enumerate(labels)}
    known = [j for j in judgements if j.query in row and j.tracklet in row]
    groups, conflicts = people_of(labels, known)
    different = np.array([(row[j.query], row[j.tracklet]) for j in known if not j.same], dtype=np.int64)
    named = label_numbers(groups, labels, row, len(labels))
    notes = []
    if known or any(labels.values()):
        notes.append(
            f"followed from {where}: {sum(j.same for j in known):,} pairs called one person, "
            f"{len(different):,} called two, {len({*labels.values()} - {''}):,} labels"
        )
    if conflicts:
        notes.append(contradictions_note(conflicts))
    return Said(
        together=tuple(np.array([row[i] for i in group]) for group in groups if len(group) > 1),
        different=different if len(different) else None,
        named=named if named.any() else None,
        labels={row[name]: label for name, label in labels.items() if label},
        notes=tuple(notes),
    )


class Label(NamedTuple):
    """Who is on a tracklet, by its name as the file has it, and where it says so."""

    tracklet: str
    label: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Told:
    """Answers and labels from elsewhere; `names` says whether labels are names of people, not numbers."""

    answers: list[Answer]
    labels: list[Label]
    names: bool

    def of(self, tracklets: Sequence[str]) -> Said:
        """All that was told, as it is known of a gallery; `tracklets` are all that are linked, in the order of rows.

        Raises:
            DataError: something is said of a tracklet that is not among them, or two labels of one.
        """
        require_known(self.answers, tracklets, of="that are linked")
        # Spreadsheets would carry out some names: tables have an apostrophe before these.
        spelled = {no_formula(name): name for name in tracklets} | {name: name for name in tracklets}
        labels = dict.fromkeys(tracklets, "")
        first: dict[str, Label] = {}
        for label in self.labels:
            if label.tracklet not in spelled:
                raise DataError(
                    f"{label.where}: there is no tracklet {label.tracklet!r} among the {len(tracklets)} that are "
                    "linked; take such lines out"
                )
            tracklet = spelled[label.tracklet]
            before = first.setdefault(tracklet, label)
            if before.label != label.label:
                raise DataError(
                    f"{label.where}: tracklet {tracklet!r} is {label.label!r}, and {before.label!r} in "
                    f"{before.where}; it shows one person"
                )
            labels[tracklet] = label.label
        said = said_of(labels, judgements_of(self.answers), where="the files of answers and labels")
        return said if self.names else replace(said, labels={})


def read_told(
    answers: str | Path | Iterable[Answer | tuple[str, str, str]] | None,
    labels: str | Path | Mapping[str, str] | None,
) -> Told:
    """Read what was said.

    Args:
        answers: a file of them (`intraclip.gallery.answers`), or they themselves, such as
            ``("t1", "t2", "different")``.
        labels: a table with the column tracklet and a column name or, without one, pid; or label by tracklet. An empty
            name or pid says nothing, nor does a pid below 1.

    Raises:
        DataError: a file cannot be read, or a value is none; with the line.
    """
    if isinstance(answers, str | Path):
        read = read_answers(Path(answers))
    elif answers is None or isinstance(answers, Iterable):
        read = [_answer(one) for one in answers or ()]
    else:
        raise DataError(f"answers: {shown(answers)} are none; give a list of them, or the path of a file")
    if labels is not None and not isinstance(labels, str | Path | Mapping):
        raise DataError(f"labels: {shown(labels)} is no label by tracklet, and no path of a table of them")
    if isinstance(labels, str | Path):
        found, names = _read_labels(Path(labels))
    else:
        found = [_label(t, label, "the labels") for t, label in (labels or {}).items() if label != ""]
        names = True
    return Told(answers=read, labels=found, names=names)


def _answer(given: Answer | tuple[str, str, str]) -> Answer:
    if isinstance(given, Answer):
        return given
    if not isinstance(given, tuple | list) or [type(part) for part in given] != [str] * 3:
        raise DataError(
            f'answers: {shown(given)} is none; two tracklets and a word are, such as ("t1", "t2", "different")'
        )
    query, tracklet, answer = given
    return Answer(query=query, tracklet=tracklet, answer=answer)


def _read_labels(path: Path) -> tuple[list[Label], bool]:
    what = (
        "labels are a column tracklet and a column name or pid, as people.csv and tracklets.csv of `intraclip link` "
        "have them"
    )
    rows = read_table(path, ("tracklet",), what=what)
    names = bool(rows) and NAME in rows[0][1]
    if rows and not names and PID not in rows[0][1]:
        raise DataError(f"{path} has no column {NAME!r} or {PID!r}; {what}")
    found = []
    for line, row in rows:
        where, tracklet = f"{path}, line {line}", row["tracklet"]
        label = without_apostrophe(row[NAME]).strip() if names else _pid(row[PID], where, tracklet)
        if label:
            found.append(_label(tracklet, label, where))
    return found, names


def _label(tracklet: str, label: str, where: str) -> Label:
    try:
        check_name(label, what="the label")
    except (DataError, AttributeError) as error:
        said = str(error) if isinstance(error, DataError) else f"the label is {label!r}, no text"
        raise DataError(f"{where}, tracklet {tracklet!r}: {said}") from None
    return Label(tracklet, label, where)


def _pid(text: str, where: str, tracklet: str) -> str:
    number = number_in(text) if text else 0
    if number is None:
        raise DataError(
            f"{where}, tracklet {tracklet!r}: pid {text!r} is no whole number; number people from 1, or leave it empty"
        )
    return f"pid {number}" if number > 0 else ""
