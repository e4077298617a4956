from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from intraclip.embed.extract_job import balance, divide

sizes = st.lists(st.integers(1, 5000), max_size=60)


@given(sizes, st.integers(1, 4000))
def test_parts_hold_every_tracklet_once_in_order_and_are_no_larger_than_needed(found, part_size):
    parts = divide(found, part_size)
    assert list(chain(*parts)) == list(range(len(found)))
    for part in parts:
        assert sum(found[i] for i in part[:-1]) < part_size  # without its last tracklet it was not full
    for part in parts[:-1]:
        assert sum(found[i] for i in part) >= part_size


@given(sizes, st.integers(1, 8))
def test_shares_hold_every_part_once_and_are_balanced(found, processes):
    shares = balance(found, processes)
    assert len(shares) == processes
    assert sorted(chain(*shares)) == list(range(len(found)))
    assert shares == balance(found, processes)
    loads = [sum(found[i] for i in share) for share in shares]
    # A share gets a part only while it is the smallest (Graham 1966).
    assert max(loads) <= sum(found) / processes + max(found, default=0)
