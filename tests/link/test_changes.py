"""From one linking to the next: numbers and names that stay, merges and splits that are told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from intraclip.link.changes import Before, carry


def test_the_larger_share_keeps_the_number_and_the_name():
    before = Before(person=dict.fromkeys("abcde", 7) | dict.fromkeys("xy", 9), labels={7: "Anna", 9: "Eva"})
    number, labels, changes = carry({1: "abc", 2: "de", 3: "xy", 4: ["new"]}, before)
    assert number == {1: 7, 2: 10, 3: 9, 4: 11}
    assert labels == {7: "Anna", 9: "Eva"}
    assert (changes.kept, changes.added, changes.gone) == (1, (11,), ())
    assert changes.split == {7: (7, 10)}
    assert changes.merged == {}


def test_merged_people_have_the_number_of_the_larger_and_a_name_if_one_had_any():
    before = Before(person=dict.fromkeys("abc", 7) | {"x": 3, "y": 5}, labels={3: "Anna"}, following=20)
    number, labels, changes = carry({1: "abcx", 2: ["new"]}, before)
    assert number == {1: 7, 2: 20}
    assert labels == {7: "Anna"}
    assert changes.merged == {7: (3,)}
    assert changes.gone == (5,)
    assert list(changes.lines(labels)) == ["Anna (person 3) is Anna (person 7)"]
    both = Before(person=before.person, labels={3: "Anna", 7: "Eva"})
    assert carry({1: "abcx"}, both)[1] == {7: "Eva"}


def test_of_equal_shares_the_older_number_and_the_first_group_win():
    assert carry({1: "ab"}, Before(person={"a": 9, "b": 4}))[0] == {1: 4}
    assert carry({1: "a", 2: "b"}, Before(person={"a": 4, "b": 4}))[0] == {1: 4, 2: 5}


def test_a_number_is_never_given_twice():
    first = Before(person={"a": 1, "b": 2}, following=3)
    number, _, changes = carry({1: "a"}, first)
    assert changes.gone == (2,)
    later = Before(person={"a": number[1]}, following=3)
    assert carry({1: "a", 2: "c"}, later)[0] == {1: 1, 2: 3}


def test_typed_names_count_by_most_rows_and_an_empty_one_takes_the_name_away():
    before = Before(person={"a": 1, "b": 1, "c": 1, "d": 2}, labels={2: "Eva"})
    assert before.called({"a": "Mia", "b": "Anna", "c": "Anna", "d": ""}).labels == {1: "Anna"}
    assert before.called({"a": "Mia", "b": "Anna", "gone": "x"}).labels == {1: "Anna", 2: "Eva"}


groupings = st.lists(st.integers(1, 4), min_size=8, max_size=8)


@given(groupings, groupings)
def test_every_person_is_told_of_once(old: list[int], new: list[int]):
    before = Before(person={str(i): p for i, p in enumerate(old)})
    groups: dict[int, list[str]] = {}
    for i, group in enumerate(new):
        groups.setdefault(group, []).append(str(i))
    number, _, changes = carry(groups, before)
    assert len(set(number.values())) == len(groups)
    after = {tracklet: number[group] for group, tracklets in groups.items() for tracklet in tracklets}
    merged = {p for those in changes.merged.values() for p in those}
    for person in set(old):
        found = {after[t] for t, p in before.person.items() if p == person}
        assert changes.split.get(person, ()) == (tuple(sorted(found)) if len(found) > 1 else ())
        assert (person in number.values()) != (person in merged)
    # The same linking again changes nothing.
    again = carry(groups, Before(person=after))
    assert again[0] == number
    assert again[2].kept == len(groups)
