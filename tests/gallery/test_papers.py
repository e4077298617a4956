"""Papers: found by kind and key, in every store, and gone with the tracklets that they speak of."""

from __future__ import annotations

import pytest

from gallery.gallery_world import fill
from intraclip.errors import DataError
from intraclip.gallery.records import Filters


def test_papers_are_listed_by_kind_in_order_of_their_keys(make):
    gallery = make()
    fill(gallery, 4)
    for key in ("002", "010", "001"):
        gallery.put_paper("alert", key, {"said": key}, ["t0001"], needs_all=True)
    gallery.put_paper("alerting", "000", {}, ["t0001"], needs_all=True)
    assert list(gallery.papers("alert")) == ["001", "002", "010"]
    assert list(gallery.papers("alert", newest=True, limit=2)) == ["010", "002"]
    assert list(gallery.papers("alert", after="001")) == ["002", "010"]
    assert gallery.papers("alert")["010"]["said"] == "010"
    gallery.put_paper("alert", "010", {"said": "anew"}, ["t0002"], needs_all=True)
    gallery.drop_paper("alert", "002")
    assert {k: v["said"] for k, v in gallery.papers("alert").items()} == {"001": "001", "010": "anew"}


def test_a_paper_forgets_what_is_deleted_and_goes_with_the_last_or_the_first(make):
    gallery = make()
    fill(gallery, 4)
    gallery.put_paper("watch", "1", {}, ["t0000", "t0001"], needs_all=False)
    gallery.put_paper("alert", "1", {}, ["t0000", "t0001"], needs_all=True)
    gallery.put_paper("alert", "2", {}, ["t0002", "t0003"], needs_all=True)
    gallery.put_paper("sent", "somewhere", {"last": "1"}, [], needs_all=False)
    gallery.delete(Filters(ids=frozenset({"t0000"})), dry_run=True)
    assert len(gallery.papers("alert")) == 2
    gallery.delete(Filters(ids=frozenset({"t0000"})))
    assert gallery.papers("watch")["1"]["tracklets"] == ["t0001"]
    assert list(gallery.papers("alert")) == ["2"]
    gallery.delete(Filters(ids=frozenset({"t0001", "t0002", "t0003"})))
    assert gallery.papers("watch") == gallery.papers("alert") == {}
    assert gallery.papers("sent")["somewhere"]["last"] == "1"
    assert gallery.check() == []


def test_a_paper_about_what_is_not_there_is_refused(make):
    gallery = make()
    fill(gallery, 1)
    with pytest.raises(DataError, match="nobody"):
        gallery.put_paper("alert", "1", {}, ["t0000", "nobody"], needs_all=True)
    assert gallery.papers("alert") == {}


def test_what_a_paper_says_of_a_tracklet_is_forgotten_with_it(make):
    gallery = make()
    fill(gallery, 3)
    gallery.put_paper("linked", "1", {"each": [7, 8, 9]}, ["t0000", "t0001", "t0002"], needs_all=False)
    gallery.delete(Filters(ids=frozenset({"t0001"})))
    (left,) = gallery.papers("linked").values()
    assert (left["tracklets"], left["each"]) == (["t0000", "t0002"], [7, 9])
