"""What people said about tracklets: who is one person, who are two, and who is called what.

Tracklets are one person when they carry the same label or were confirmed, also by way of others; two labels, or a
rejected pair, are two. Where that contradicts itself, what was called different stays apart, and nothing is joined by
what was said about the group: to join two people is the worse mistake. A human's word goes before times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from intraclip.gallery.labels import contradictions_note, label_numbers, people_of
from intraclip.gallery.records import Judgement

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Said:
    """Judgements and labels, by rows of tracklets.

    Attributes:
        together: rows that are one person.
        different: pairs of rows that are two people, int64 ``[P, 2]``; None if there are none.
        named: number of the label of each row, 0 without one or where labels contradict what was said, int64 ``[N]``;
            None without labels.
        labels: row -> label.
        notes: in sentences.
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
