"""What people said about tracklets that no gallery holds: files of answers and of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from intraclip.core.settings import shown
from intraclip.core.tables import read_table
from intraclip.data.readers.manifest import number_in
from intraclip.errors import DataError
from intraclip.gallery.answers import Answer, judgements_of, read_answers, require_known
from intraclip.gallery.records import check_name
from intraclip.link.output import no_formula, without_apostrophe
from intraclip.link.said import Said, said_of

NAME, PID = "name", "pid"
"""Columns of labels: ``people.csv`` has names; ``tracklets.csv`` of `link` and of `gallery export-labels` pids."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """Who is on a tracklet.

    Attributes:
        tracklet: its name, as the file has it.
        label: two are two people.
        where: file and line that it was read from; empty if it was not.

    Raises:
        DataError: the label can be no name.
    """

    tracklet: str
    label: str
    where: str = ""

    def __post_init__(self) -> None:
        try:
            check_name(self.label, what="the label")
        except (DataError, AttributeError) as error:
            said = str(error) if isinstance(error, DataError) else f"the label is {self.label!r}, no text"
            raise DataError(f"{self.where or 'the labels'}, tracklet {self.tracklet!r}: {said}") from None


@dataclass(frozen=True, kw_only=True)
class Told:
    """Answers and labels from elsewhere.

    Attributes:
        answers: about pairs.
        labels: about tracklets.
        names: whether labels are names of people, not numbers.
    """

    answers: tuple[Answer, ...] = ()
    labels: tuple[Label, ...] = ()
    names: bool = True

    def of(self, tracklets: Sequence[str]) -> Said:
        """All that was told, as it is known of a gallery.

        Args:
            tracklets: names of all that are linked, in the order of rows.

        Raises:
            DataError: something is said of a tracklet that is not among them, or two labels of one.
        """
        require_known(self.answers, tracklets, of="that are linked")
        # Spreadsheets would carry out some names: tables have an apostrophe before these.
        spelled = {no_formula(name): name for name in tracklets} | {name: name for name in tracklets}
        labels = dict.fromkeys(tracklets, "")
        first: dict[str, Label] = {}
        for label in self.labels:
            where = label.where or "the labels"
            if label.tracklet not in spelled:
                raise DataError(
                    f"{where}: there is no tracklet {label.tracklet!r} among the {len(tracklets)} that are linked; "
                    "take such lines out"
                )
            tracklet = spelled[label.tracklet]
            before = first.setdefault(tracklet, label)
            if before.label != label.label:
                raise DataError(
                    f"{where}: tracklet {tracklet!r} is {label.label!r}, and {before.label!r} in "
                    f"{before.where or 'the same'}; it shows one person"
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
        found, names = (
            [Label(tracklet=t, label=label) for t, label in (labels or {}).items() if label != ""],
            True,
        )
    return Told(answers=tuple(read), labels=tuple(found), names=names)


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
            found.append(Label(tracklet=tracklet, label=label, where=where))
    return found, names


def _pid(text: str, where: str, tracklet: str) -> str:
    number = number_in(text) if text else 0
    if number is None:
        raise DataError(
            f"{where}, tracklet {tracklet!r}: pid {text!r} is no whole number; number people from 1, or leave it empty"
        )
    return f"pid {number}" if number > 0 else ""
