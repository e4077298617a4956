"""From one linking to the next: who is whom again, and what became of the others.

Numbers are given once. A person of the earlier linking lives on in the group that holds most of the tracklets; where
several live on in one group, the one with most tracklets in it gives it the number, and of those that a human named,
the one with most gives it the name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class Before:
    """An earlier linking.

    Attributes:
        person: tracklet -> number of its person.
        labels: number -> name that a human gave.
        following: the smallest number that was never given.
        key: of the linking in the gallery that keeps it; empty elsewhere.
    """

    person: Mapping[str, int]
    labels: Mapping[int, str] = field(default_factory=dict)
    following: int = 1
    key: str = ""

    def called(self, typed: Mapping[str, str]) -> Before:
        """The same with names that were given since, by tracklet; an empty text takes a name away.

        Where one person's tracklets were given several, most of them count, then the first in the alphabet.
        """
        said: dict[int, Counter[str]] = {}
        for tracklet, name in typed.items():
            if tracklet in self.person:
                said.setdefault(self.person[tracklet], Counter())[name] += 1
        chosen = {p: min(names, key=lambda n: (not n, -names[n], n)) for p, names in said.items()}
        labels = {p: name for p, name in {**self.labels, **chosen}.items() if name}
        return replace(self, labels=labels)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What became of the people of an earlier linking, by their numbers.

    Attributes:
        kept: people who are there as before, perhaps with more tracklets.
        added: new ones, none of whose tracklets were there.
        merged: number -> those who were found to be the same.
        split: number -> all in whom its tracklets are now.
        gone: those none of whose tracklets are left.
        names: number -> name that those who were merged or divided had.
    """

    kept: int = 0
    added: tuple[int, ...] = ()
    merged: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    split: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    gone: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)

    def summary(self) -> str:
        """One line."""
        return (
            f"since the linking before: {self.kept:,} people as they were, {len(self.added):,} new, "
            f"{sum(map(len, self.merged.values())):,} found to be another, {len(self.split):,} divided, "
            f"{len(self.gone):,} gone"
        )

    def lines(self, labels: Mapping[int, str]) -> Iterator[str]:
        """A line for every merge and split; `labels` are the names of people now, by number."""

        def titles(numbers: Sequence[int], names: Mapping[int, str]) -> str:
            *some, last = (title(number, names) for number in numbers)
            return f"{', '.join(some)} and {last}" if some else last

        for into, those in self.merged.items():
            yield f"{titles(those, self.names)} {'is' if len(those) == 1 else 'are'} {title(into, labels)}"
        for number, groups in self.split.items():
            yield f"{title(number, self.names)} was divided into {titles(groups, labels)}"


def title(person: int, labels: Mapping[int, str]) -> str:
    """What a sentence calls a person.

    >>> title(7, {}), title(7, {7: "Anna"})
    ('person 7', 'Anna (person 7)')
    """
    name = labels.get(person)
    return f"{name} (person {person})" if name else f"person {person}"


def carry(
    groups: Mapping[int, Sequence[str]], before: Before
) -> tuple[dict[int, int], dict[int, str], Changes]:
    """Give groups the numbers and names that their people had.

    Args:
        groups: number -> tracklets of a new linking, in the order in which new numbers are given.
        before: the earlier linking.

    Returns:
        Number in the new linking -> number that it keeps or is given; number -> name; and what changed.
    """
    shares: dict[int, Counter[int]] = {}
    for group, tracklets in groups.items():
        for tracklet in tracklets:
            if (old := before.person.get(tracklet)) is not None:
                shares.setdefault(old, Counter())[group] += 1
    place = {group: i for i, group in enumerate(groups)}
    heirs: dict[int, list[int]] = {}
    for old, found in sorted(shares.items()):
        heirs.setdefault(min(found, key=lambda g: (-found[g], place[g])), []).append(old)
    number: dict[int, int] = {}
    labels: dict[int, str] = {}
    following = max([before.following, *(p + 1 for p in before.person.values())])
    for group in groups:
        # Most tracklets first; of equal ones the older number.
        those = sorted(heirs.get(group, []), key=lambda old: (-shares[old][group], old))
        if those:
            number[group] = those[0]
        else:
            number[group], following = following, following + 1
        if name := next((before.labels[old] for old in those if before.labels.get(old)), ""):
            labels[number[group]] = name
    merged = {
        number[group]: tuple(old for old in those if old != number[group])
        for group, those in heirs.items()
        if len(those) > 1
    }
    split = {
        old: tuple(sorted(number[group] for group in found))
        for old, found in shares.items()
        if len(found) > 1
    }
    known = {group for found in shares.values() for group in found}
    changed = {*merged, *split, *(n for groups_of in split.values() for n in groups_of)}
    told = {*split, *(old for those in merged.values() for old in those)}
    return (
        number,
        labels,
        Changes(
            kept=sum(group in heirs and number[group] not in changed for group in groups),
            added=tuple(sorted(number[group] for group in groups if group not in known)),
            merged=dict(sorted(merged.items())),
            split=dict(sorted(split.items())),
            gone=tuple(sorted(set(before.person.values()) - set(shares))),
            names={old: name for old, name in sorted(before.labels.items()) if old in told},
        ),
    )
